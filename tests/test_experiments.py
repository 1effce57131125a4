"""Every shipped experiment runs: one training and one validation batch of tiny data in its benchmark's own layout."""

import json
from pathlib import Path

import pytest

from ogreid import config, fit, pack, runs
from ogreid.config.constraints import CHOICES
from ogreid.synthetic import make_domain

HERE = Path(__file__).parent
BENCHMARKS = {"market": "plaza", "duke": "winter", "msmt": "transit", "cuhk": "platform"}
NAMES = [name for name in config.experiment_names(HERE) if not name.startswith("study/")]  # tests/test_study.py


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with every store that the experiments name, each packed by the reader of its benchmark."""
    made = tmp_path_factory.mktemp("experiments")
    for benchmark, domain in BENCHMARKS.items():
        tree = made / "raw" / benchmark
        make_domain(domain, tree, identities=4)
        how = ["--root", str(tree), "--data", str(made / "data"), "--workers", "1", "--allow-count-mismatch"]
        assert pack.main([benchmark, *how]) == 0
        if benchmark == "market":
            assert pack.main([benchmark, *how, "--no-background", "--to", str(made / "data" / "market-visible")]) == 0
    return made / "data"


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    own = config.load(name, start=HERE)
    judged = [s if not s[-1].isdigit() else f"{s.split('-')[0]}-4" for s in own.data.test]
    settings = [
        f"data.root={root}",
        f"data.train=[{','.join(judged)}]",
        f"data.test=[{','.join(judged)}]",
        "data.transfer=[]",
        "data.num_points=1024",
        "data.batch_size=2",
        "data.eval_batch_size=2",
        "data.num_workers=0",
        "trainer.fast_dev_run=true",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "trainer.enable_progress_bar=false",
        "wandb.mode=disabled",
    ]
    assert fit.main(["--experiment", name, *settings]) == 0
    (folder,) = (tmp_path / "runs" / own.name).iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"] == own.model.name
    assert summary["retrieval"][judged[0]]["missing"] > 0  # one batch is not a result, and says so


def test_every_name_that_a_setting_takes_exists():
    from ogreid.data.samplers import ORDERS
    from ogreid.losses import LOSSES
    from ogreid.models import MODELS

    assert set(CHOICES["model.name"]) == set(MODELS)
    assert set(CHOICES["loss.name"]) == set(LOSSES)
    assert set(CHOICES["data.sampler"]) == set(ORDERS)
