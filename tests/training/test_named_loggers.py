"""Loggers by name: ``metrics.csv`` always, others in the run folder, and a missing package refused before any work."""

from importlib import metadata
from pathlib import Path

import pytest

from ogreid import config
from ogreid.errors import InputError
from ogreid.registry import LOGGERS
from ogreid.runs import Run
from ogreid.training import loggers
from tiny_runs import TINY, fit_tiny, logged


def named(*settings):
    experiment = config.load("small", [*TINY, *settings])
    return [type(one).__name__ for one in loggers.loggers_for(experiment, Run(Path("runs/small/a")))]


@pytest.mark.usefixtures("place")
def test_metrics_csv_is_always_first_and_wandb_obeys_its_mode():
    ours = ["RunCSVLogger", "ProjectWandbLogger"]
    assert named("wandb.mode=offline") == ours == named("logger=[csv,wandb,csv]", "wandb.mode=offline")
    assert named("logger=[wandb]", "wandb.mode=disabled") == named("logger=[]", "wandb.mode=offline") == ours[:1]
    with pytest.raises(InputError, match="tensorboard"):
        config.load("small", ["logger=[tensorbord]"])


@pytest.mark.usefixtures("place")
def test_a_logger_of_ones_own_is_called_with_the_experiment_and_the_run(monkeypatch):
    monkeypatch.setitem(LOGGERS, "mine", lambda experiment, run: (experiment.name, run.folder.name))
    (_, own) = loggers.loggers_for(config.load("small", ["logger=[mine]"]), Run(Path("runs/small/a")))
    assert own == ("small", "a")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_refused_before_anything_is_written(place, monkeypatch, name):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(loggers.metadata, "version", missing)
    with pytest.raises(InputError, match=f"logger: {name} is not installed; pip install {name}") as refused:
        fit_tiny(f"logger=[csv,{name}]")
    assert "\n" not in str(refused.value) and not Path("runs").exists()


@pytest.mark.usefixtures("place")
def test_tensorboard_and_mlflow_are_told_to_write_into_the_run_folder(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("TensorBoardLogger", "MLFlowLogger"):
        monkeypatch.setattr(loggers, name, lambda *given, **options: (given, options))
    experiment = config.load("small", ["logger=[tensorboard,mlflow]"])
    _, (board, options), (names, flow) = loggers.loggers_for(experiment, Run(Path("runs/small/a")))
    assert board == (Path("runs/small/a"),) and (options["name"], options["version"]) == ("tensorboard", "")
    assert names == ("small",) and flow["tracking_uri"] == f"sqlite:///{Path('runs/small/a/mlflow.db').resolve()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here")
    assert loggers.loggers_for(experiment, Run(Path("a")))[2][1]["tracking_uri"] == "http://here"


@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("default")  # MLflow 3 uses what SQLAlchemy 2.1 deprecates
@pytest.mark.parametrize(("name", "files"), [("tensorboard", "tensorboard/events*"), ("mlflow", "mlflow.db")])
def test_a_run_leaves_their_files_and_its_own(name, files):
    before = {path.name for path in Path().iterdir()}
    run = fit_tiny(f"logger=[{name}]", "trainer.max_epochs=2")
    assert {path.name for path in Path().iterdir()} == before | {"runs"}
    assert list(run.folder.glob(files)) and len(logged(run, "train/loss")) == 4
