"""One person from crop to mAP, along the public functions that the README names."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid import evaluate, export, fit, pack, report, runs, search, sweep
from ogreid.data import Store
from ogreid.data.module import ReIDDataModule
from ogreid.data.transforms import to_network
from ogreid.lifting import lift
from ogreid.losses import build_loss
from ogreid.models import build_model
from ogreid.synthetic import read_estimates
from ogreid.retrieval import judge
from ogreid.config.schema import Data

NAME = "plaza-8"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with eight synthetic people, packed by the door."""
    made = tmp_path_factory.mktemp("data")
    assert pack.main([NAME, "--data", str(made), "--workers", "1"]) == 0
    return made


def test_a_person_goes_from_crop_to_mean_average_precision(root):
    # Crop and body, as a benchmark and an estimator give them.
    tree = root / "synthetic" / NAME
    store = Store.open(root / NAME)
    query = int(store.split("query")[0])
    source = str(store.rows["source"][query])
    assert (tree / source).is_file()
    crop = store.crop(query)
    assert crop is not None and crop.shape == (128, 64, 3)

    # Cloud: what the store holds is what lifting gives, in the store's own order.
    points = lift(crop, read_estimates(tree)[source])
    xyz, rgb = store.clouds([query])
    lifted = {tuple(p) for p in np.round(points[:, :2].astype(np.float16).astype(np.float64), 5)}
    stored = {tuple(p) for p in np.round(xyz[0][:, :2].astype(np.float64), 5)}
    assert len(lifted & stored) > 0.99 * len(lifted)
    np.testing.assert_allclose(np.sort(rgb[0].sum(1)), np.sort(points[:, 3:].sum(1)), atol=1e-5)

    # Batch, network, loss.
    data = ReIDDataModule(Data(root=str(root), train=[NAME], retrieval=[NAME], points=128, batch=8, workers=0))
    data.setup("fit")
    torch.manual_seed(0)
    network = build_model("ognet", channels=[8, 16], num_kept=[32, 16], k=4)
    loss = build_loss("circle", network.width, data.identities)
    batch = to_network(next(iter(data.train_dataloader())), data.num_points)
    assert batch.xyz.shape == batch.rgb.shape == (8, 128, 3)
    terms = loss(network(batch.xyz, batch.rgb), batch.identity)
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    # RetrievalResult: the same identity from another camera, ranked by an embedding.
    judged = data.retrieval_sets[0]
    histogram = build_model("histogram")
    seen = [to_network(b, data.num_points) for b in data.val_dataloader()[0]]
    embedding = torch.cat([histogram(b.xyz, b.rgb) for b in seen])
    rows = judged.store.rows[judged.rows]
    parts = (embedding.numpy(), rows["identity"], rows["camera"])
    judgment = judge(*(p[: judged.queries] for p in parts), *(p[judged.queries :] for p in parts))
    assert judgment.answerable > 0
    assert 0 < judgment.mean_average_precision < 1


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory) -> Iterator[Path]:
    """The folder of a run of one epoch, made by the door; the current folder is the one above ``runs``."""
    settings = [
        f"data.root={root}",
        f"data.train=[{NAME}]",
        f"data.test=[{NAME}]",
        "data.transfer=[]",
        "data.num_points=128",
        "data.batch_size=8",
        "data.num_workers=0",
        "model.channels=[8,16]",
        "model.num_kept=[32,16]",
        "model.k=4",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "trainer.enable_progress_bar=false",
        "trainer.check_val_every_n_epoch=1",
        "wandb.mode=disabled",
    ]
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("work"))
        here.delenv(runs.STAMP, raising=False)
        assert fit.main(["--experiment", "demo", *settings]) == 0
        (folder,) = Path("runs/demo").iterdir()
        yield folder


def test_the_doors_lead_the_same_way(root, trained):
    summary = json.loads((trained / "summary.json").read_text())
    again = ["--checkpoint", str(trained / "checkpoints" / "last.ckpt"), "--on", NAME, "--data", str(root)]
    assert evaluate.main([*again, "--json", "judged.json"]) == 0
    judged = json.loads(Path("judged.json").read_text())["retrieval"][NAME]
    assert judged == summary["retrieval"][NAME]
    assert NAME in (trained / "report.html").read_text()


@pytest.mark.thorough  # for `make minimum`: what else a user calls
@pytest.mark.filterwarnings("ignore::FutureWarning:torch")  # inside torch.export (pytorch/pytorch#150994)
def test_a_run_is_searched_told_exported_and_swept(root, trained, capsys):
    query = next((root / "synthetic" / NAME / "query").iterdir())
    asked = ["--checkpoint", str(trained), "--gallery", NAME, "--data", str(root), "--query", str(query)]
    assert search.main([*asked, "--to", "found.html", "--export", "people.npz"]) == 0
    assert query.name in Path("found.html").read_text()
    judged = np.isin(Store.open(root / NAME).rows["split"], ["query", "gallery"])
    assert len(np.load("people.npz")["embedding"]) == judged.sum()
    assert report.main([str(trained), "--to", "told.html"]) == 0
    assert NAME in Path("told.html").read_text()
    capsys.readouterr()
    assert report.main([str(trained), "--csv"]) == 0
    assert NAME in capsys.readouterr().out
    assert export.main(["--checkpoint", str(trained), "--program", "network.pt2"]) == 0
    program = torch.export.load("network.pt2").module()
    assert torch.isfinite(program(*torch.rand(2, 1, 128, 3))).all()
    assert sweep.main(["k", "--experiment", "demo", "--dry-run"]) == 0
    assert "6 runs" in capsys.readouterr().out
