"""Every shipped experiment runs: one training and one validation batch of tiny data in its benchmark's own layout."""

from pathlib import Path

import pytest

from ogreid import config, fit, pack, registry
from ogreid.runs import STAMP, Run
from ogreid.synthetic import make_domain
from ogreid.training.train import build_data, build_module

HERE = Path(__file__).parent
BENCHMARKS = {"market": "plaza", "duke": "winter", "msmt": "transit", "cuhk": "platform"}
NAMES = [name for name in config.experiment_names(HERE) if not name.startswith("study/")]  # tests/test_study.py


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_of_an_experiment_are_arguments_of_the_library(name):
    experiment = config.load(name, start=HERE)
    data, module = build_data(experiment), build_module(experiment)
    assert data.config == experiment.data and module.hparams["model"] == experiment.model.name
    assert getattr(module.network, "inputs", None) in (None, "crop" if experiment.data.inputs == "crop" else "points")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with every store that the experiments name, each packed by the reader of its benchmark."""
    folder = tmp_path_factory.mktemp("experiments")
    for benchmark, domain in BENCHMARKS.items():
        tree = folder / "raw" / benchmark
        make_domain(domain, tree, identities=4)
        source = [benchmark, "--root", str(tree), "--workers", "1", "--allow-count-mismatch"]
        assert pack.main([*source, "--data", str(folder / "data")]) == 0
        if benchmark == "market":
            assert pack.main([*source, "--no-background", "--to", str(folder / "data" / "market-visible")]) == 0
    return folder / "data"


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(STAMP, raising=False)
    experiment = config.load(name, start=HERE)
    sets = [f"{one.split('-')[0]}-4" if one[-1].isdigit() else one for one in experiment.data.test]
    small = {
        **{"root": root, "train": f"[{','.join(sets)}]", "test": f"[{','.join(sets)}]", "transfer": "[]"},
        **{"num_points": 1024, "batch_size": 2, "eval_batch_size": 2, "num_workers": 0},
    }
    trainer = {"fast_dev_run": "true", "accelerator": "cpu", "devices": 1, "enable_progress_bar": "false"}
    settings = [f"data.{key}={value}" for key, value in small.items()]
    settings += [f"trainer.{key}={value}" for key, value in trainer.items()]
    assert fit.main(["--experiment", name, *settings, "wandb.mode=disabled"]) == 0
    (folder,) = (tmp_path / "runs" / experiment.name).iterdir()
    summary = Run.open(folder).summary()
    assert summary["model"] == experiment.model.name
    assert summary["retrieval"][sets[0]]["missing"] > 0  # one batch is not a result, and says so


@pytest.mark.parametrize("family", ["MODELS", "LOSSES", "SAMPLERS", "DATASETS"])
def test_every_name_of_a_registry_leads_to_an_object(family):
    names = getattr(registry, family)
    assert names and all(registry.resolve(family, names, name) is not None for name in names)
