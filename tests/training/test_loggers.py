"""W&B is offline without a key and never asks; ``metrics.csv`` is never half-written."""

from pathlib import Path

import pytest

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


@pytest.fixture
def csv_logger(tmp_path):
    """Makes loggers of one file."""
    return lambda: loggers.RunCSVLogger(save_dir=tmp_path, name="", version="", flush_logs_every_n_steps=1000)


def test_a_header_that_grows_is_never_half_written(csv_logger, tmp_path, monkeypatch):
    logger = csv_logger()
    logger.log_metrics({"loss": 0.5}, step=0)
    logger.save()
    logger.log_metrics({"mAP": 7}, step=1)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "0.5,0"]
