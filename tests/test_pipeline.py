"""One person from crop to mAP, along the public functions and along the commands that the README names."""

import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

import ogreid
from ogreid import embed, evaluate, export, fit, pack, report, search, sweep
from ogreid.data import Store
from ogreid.lifting import lift
from ogreid.losses import circle_loss
from ogreid.models import build_model
from ogreid.retrieval import evaluate_retrieval
from ogreid.runs import STAMP
from ogreid.synthetic import read_estimates
from tiny_runs import TINY

NAME = "plaza-8"
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with eight synthetic people, packed by the command."""
    folder = tmp_path_factory.mktemp("data")
    assert pack.main([NAME, "--data", str(folder), "--workers", "1"]) == 0
    return folder


def test_a_person_goes_from_crop_to_mean_average_precision(root):
    # Crop and body, as a data set and an estimator give them.
    folder, store = root / "synthetic" / NAME, Store.open(root / NAME)
    query = int(store.split("query")[0])
    source = str(store.rows["source"][query])
    crop = store.crop(query)
    assert (folder / source).is_file() and crop.shape == (128, 64, 3)

    # Cloud: the store holds what lifting gives, in an order of its own.
    points = lift(crop, read_estimates(folder)[source])
    xyz, rgb = store.clouds([query])
    lifted = {tuple(p) for p in np.round(points[:, :2].astype(np.float16).astype(np.float64), 5)}
    stored = {tuple(p) for p in np.round(xyz[0][:, :2].astype(np.float64), 5)}
    assert len(lifted & stored) > 0.99 * len(lifted)
    np.testing.assert_allclose(np.sort(rgb[0].sum(1)), np.sort(points[:, 3:].sum(1)), atol=1e-5)

    # Batch, network, loss.
    data = ogreid.ReIDDataModule(root, train=NAME, test=NAME, num_points=128, batch_size=8, num_workers=0)
    data.setup("fit")
    torch.manual_seed(0)
    network = build_model("ognet", channels=[8, 16], num_kept=[32, 16], k=4)
    batch = data.augmented(next(iter(data.train_dataloader())), 0, 0)
    assert batch.xyz.shape == batch.rgb.shape == (8, 128, 3)
    circle_loss(network(batch.xyz, batch.rgb), batch.identity).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    # Evaluation: the same numbers by the function and by Lightning's loop.
    evaluated, module = data.evaluation_sets[0], ogreid.ReIDModule("histogram", loss="ce", scales=(1.0,))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, callbacks=[ogreid.RetrievalEvaluation()], **quiet)
    embedding = torch.cat([batch.embedding for batch in trainer.predict(module, data)]).numpy()
    rows = evaluated.store.rows[evaluated.rows]
    columns = (embedding, rows["identity"], rows["camera"])
    split = evaluated.num_queries
    result = evaluate_retrieval(*(c[:split] for c in columns), *(c[split:] for c in columns))
    assert result.answerable > 0 and 0 < result.mean_average_precision < 1
    (numbers,) = trainer.test(module, data, verbose=False)
    assert numbers[f"test/{NAME}/mAP"] == pytest.approx(100 * result.mean_average_precision, abs=1e-4)


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
