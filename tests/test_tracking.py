"""W&B: offline without a key, never asking, and what a run logs can be read back."""

import warnings
from pathlib import Path

import pytest

from ogreid import config, runs
from ogreid.training.train import loggers


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A machine on which no key is known."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path


def test_without_a_key_a_run_is_offline(nobody):
    assert loggers.wandb_mode("auto") == "offline"


def test_a_key_in_the_environment_or_in_netrc_means_online(nobody, monkeypatch):
    (nobody / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert loggers.wandb_mode("auto") == "online"
    (nobody / "netrc").write_text("machine elsewhere.example login user password secret\n")
    assert loggers.wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert loggers.wandb_mode("auto") == "online"


def test_what_was_asked_for_wins(nobody, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert loggers.wandb_mode("auto") == "disabled"
    assert loggers.wandb_mode("offline") == "offline"


def test_an_offline_run_is_written_into_the_run_folder_without_a_warning(nobody, monkeypatch):
    monkeypatch.chdir(nobody)
    experiment = config.load("market_circle", ["runs.root=runs", "wandb.mode=offline"])
    run = runs.start_run(experiment, "stamp")
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


def test_metrics_of_a_resumed_run_follow_the_old_ones(tmp_path):
    for step, name in ((1, "loss"), (2, "mAP")):
        logger = loggers.RunCSVLogger(save_dir=tmp_path, name="", version="")
        logger.log_metrics({name: 0.5}, step=step)
        logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,mAP,step", "0.5,,1", ",0.5,2"]


def test_a_resumed_run_logs_no_row_twice_and_loses_none(tmp_path):
    """What was logged after the checkpoint is logged again; a row that was cut short by a kill does not stay."""

    def logger():
        return loggers.RunCSVLogger(save_dir=tmp_path, name="", version="", flush_logs_every_n_steps=1000)

    first = logger()
    first.log_metrics({"loss": 0.5}, step=0)
    place = loggers.KeepPlace(first).state_dict()
    assert "0.5" in (tmp_path / "metrics.csv").read_text()
    first.log_metrics({"loss": 0.25, "mAP": 7}, step=1)
    first.save()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("0.12")
    second = logger()
    loggers.KeepPlace(second).load_state_dict(place)
    second.log_metrics({"loss": 0.25}, step=1)
    second.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,mAP,step", "0.5,,0", "0.25,,1"]
    assert loggers.KeepPlace(second).state_dict() == {"rows": 2}


def test_a_header_that_grows_is_never_half_written(tmp_path, monkeypatch):
    logger = loggers.RunCSVLogger(save_dir=tmp_path, name="", version="")
    logger.log_metrics({"loss": 0.5}, step=0)
    logger.save()
    logger.log_metrics({"mAP": 7}, step=1)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "0.5,0"]
