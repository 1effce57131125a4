"""W&B is offline without a key and never asks; ``metrics.csv`` is continued without a lost or doubled row."""

import warnings
from pathlib import Path

import pytest

from ogreid import config
from ogreid.runs import Run
from ogreid.training import loggers


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    """A machine on which no key is known."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path


def test_a_run_is_online_where_a_key_is_known_and_offline_elsewhere(no_key, monkeypatch):
    assert loggers.wandb_mode("auto") == "offline"
    (no_key / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert loggers.wandb_mode("auto") == "online"
    (no_key / "netrc").write_text("machine elsewhere.example login user password secret\n")
    assert loggers.wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert loggers.wandb_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")  # wins over auto, and a setting over both
    assert loggers.wandb_mode("auto") == "disabled" and loggers.wandb_mode("offline") == "offline"


def test_an_offline_run_is_written_into_the_run_folder_without_a_warning(no_key, monkeypatch):
    monkeypatch.chdir(no_key)
    experiment = config.load("market_circle", ["runs.root=runs", "wandb.mode=offline"])
    run = Run.start(experiment, "stamp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        csv, wandb = loggers.loggers_for(experiment, run)
        for logger in (csv, wandb):
            logger.log_metrics({"val/mAP": 12.5}, step=3)
            logger.finalize("success")
        wandb.experiment.finish()
    assert wandb.version == run.tracking_id
    assert list((run.folder / "wandb").glob(f"offline-run-*-{run.tracking_id}/*.wandb"))
    assert "12.5" in (run.folder / "metrics.csv").read_text()


@pytest.fixture
def csv_logger(tmp_path):
    """Makes loggers of one file."""
    return lambda: loggers.RunCSVLogger(save_dir=tmp_path, name="", version="", flush_logs_every_n_steps=1000)


def test_metrics_of_a_resumed_run_follow_the_old_ones(csv_logger, tmp_path):
    for step, name in ((1, "loss"), (2, "mAP")):
        logger = csv_logger()
        logger.log_metrics({name: 0.5}, step=step)
        logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,mAP,step", "0.5,,1", ",0.5,2"]


def test_a_resumed_run_logs_no_row_twice_and_loses_none(csv_logger, tmp_path):
    """What was logged after the checkpoint is logged again; a row that was cut short by a kill does not stay."""
    first = csv_logger()
    first.log_metrics({"loss": 0.5}, step=0)
    position = loggers.TrackPosition(first).state_dict()
    assert "0.5" in (tmp_path / "metrics.csv").read_text()
    first.log_metrics({"loss": 0.25, "mAP": 7}, step=1)
    first.save()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("0.12")
    second = csv_logger()
    loggers.TrackPosition(second).load_state_dict(position)
    second.log_metrics({"loss": 0.25}, step=1)
    second.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,mAP,step", "0.5,,0", "0.25,,1"]
    assert loggers.TrackPosition(second).state_dict() == {"rows": 2}


def test_a_header_that_grows_is_never_half_written(csv_logger, tmp_path, monkeypatch):
    logger = csv_logger()
    logger.log_metrics({"loss": 0.5}, step=0)
    logger.save()
    logger.log_metrics({"mAP": 7}, step=1)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "0.5,0"]
