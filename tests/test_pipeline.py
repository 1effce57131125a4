"""One person from crop to mAP, along the public functions and along the commands that the README names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid import embed, evaluate, export, fit, pack, report, search, sweep
from ogreid.data import Store
from ogreid.runs import STAMP
from tiny_runs import TINY

NAME = "plaza-8"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with eight synthetic people, packed by the command."""
    folder = tmp_path_factory.mktemp("data")
    assert pack.main([NAME, "--data", str(folder), "--workers", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A run of one epoch by the command; the current folder is the one above ``runs``."""
    sets = [f"data.root={root}", f"data.train=[{NAME}]", f"data.test=[{NAME}]", "data.transfer=[]"]
    sizes = ["data.num_points=128", "model.num_kept=[32,16]", "trainer.max_epochs=1"]
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("work"))
        here.delenv(STAMP, raising=False)
        assert fit.main(["--experiment", "demo", *TINY, *sets, *sizes]) == 0
        (folder,) = Path("runs/demo").iterdir()
        yield folder


def test_the_commands_lead_the_same_way(root, run):
    numbers = json.loads((run / "summary.json").read_text())["retrieval"][NAME]
    checkpoint = ["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--data", str(root)]
    assert evaluate.main([*checkpoint, "--on", NAME, "--json", "numbers.json"]) == 0
    assert json.loads(Path("numbers.json").read_text())["retrieval"][NAME] == numbers
    assert NAME in (run / "report.html").read_text()


@pytest.mark.thorough  # for `make minimum`: what else a user calls
@pytest.mark.filterwarnings("ignore::FutureWarning:torch")  # inside torch.export (pytorch/pytorch#150994)
def test_a_run_is_embedded_searched_reported_exported_and_swept(root, run, capsys):
    query = next((root / "synthetic" / NAME / "query").iterdir())
    network = ["--checkpoint", str(run), "--data", str(root)]
    assert embed.main([*network, "--input", NAME, "--to", "people.npz"]) == 0
    evaluated = np.isin(Store.open(root / NAME).rows["split"], ["query", "gallery"])
    assert len(np.load("people.npz")["embedding"]) == evaluated.sum()
    assert search.main([*network, "--gallery", NAME, "--query", str(query), "--to", "ranking.html"]) == 0
    assert query.name in Path("ranking.html").read_text()
    assert report.main([str(run), "--to", "report.html"]) == 0
    assert NAME in Path("report.html").read_text()
    capsys.readouterr()
    assert report.main([str(run), "--csv"]) == 0
    assert NAME in capsys.readouterr().out
    assert export.main(["--checkpoint", str(run), "--program", "network.pt2"]) == 0
    program = torch.export.load("network.pt2").module()
    assert torch.isfinite(program(*torch.rand(2, 1, 128, 3))).all()
    assert sweep.main(["k", "--experiment", "demo", "--dry-run"]) == 0
    assert "6 runs" in capsys.readouterr().out
