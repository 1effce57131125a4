"""A released folder becomes a run; a network becomes a program that needs only torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid import export
from ogreid.training.train import checkpoint
from ogreid.errors import InputError
from ogreid.models.published import load_published
from ogreid.training.module import embed_views

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["ognet", "ognet_deep"])
def test_an_exported_run_gives_the_released_numbers(name, tmp_path):
    target = tmp_path / "runs" / name
    assert export.main(["--published", str(GOLDEN / name), "--to", str(target)]) == 0
    restored = checkpoint.restore(target)
    expected = np.load(GOLDEN / name / "expected.npz")
    xyz, rgb = (torch.from_numpy(expected[part]) for part in ("xyz", "rgb"))
    with torch.no_grad():
        embedding = restored.module(xyz, rgb)
        logits = restored.module.loss.head.classifier(embedding)
        views = embed_views(restored.module.network, xyz, rgb, restored.module.views)
    for found, key in ((embedding, "embedding"), (logits, "logits"), (views, "two_view_embedding")):
        np.testing.assert_allclose(found, expected[key], rtol=1e-4, atol=1e-4 * np.abs(expected[key]).max())


@pytest.mark.filterwarnings("ignore::FutureWarning:torch")  # inside torch.export (pytorch/pytorch#150994)
def test_a_program_agrees(tmp_path):
    target = tmp_path / "network.pt2"
    assert export.main(["--published", str(GOLDEN / "ognet"), "--program", str(target), "--batch", "3"]) == 0
    program = torch.export.load(target).module()
    network, _ = load_published(GOLDEN / "ognet")
    xyz, rgb = 0.3 * torch.randn(2, 3, 4096, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(program(xyz, rgb), network(xyz, rgb), rtol=1e-4, atol=1e-4)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there: already there; choose another place"):
        export.main(["--published", str(GOLDEN / "ognet"), "--to", str(tmp_path / "there")])
    with pytest.raises(InputError, match=r"gone/opts.yaml: no such file"):
        export.main(["--published", str(tmp_path / "gone"), "--to", str(tmp_path / "run")])
    with pytest.raises(InputError, match="--checkpoint is a run already"):
        export.main(["--checkpoint", "x", "--to", str(tmp_path / "run")])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
