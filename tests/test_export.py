"""A released folder becomes a run; a network becomes a program that needs only torch."""

from pathlib import Path

import pytest
import torch

from crop_folders import NETWORKS
from ogreid import ReIDDataModule, ReIDModule, export
from ogreid.data import Store
from ogreid.data.transforms import to_network
from ogreid.deployment.programs import write_program
from ogreid.models.published import load_published
from ogreid.training.inference import Network

GOLDEN = Path(__file__).parent / "golden"
# Inside torch.export (pytorch/pytorch#150994).
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:torch")


@pytest.mark.thorough
def test_the_program_of_a_released_network_agrees(tmp_path):
    target = tmp_path / "network.pt2"
    assert export.main(["--published", str(GOLDEN / "ognet"), "--program", str(target)]) == 0
    program = torch.export.load(target).module()
    network, _ = load_published(GOLDEN / "ognet")
    xyz, rgb = 0.3 * torch.randn(2, 3, 4096, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(program(xyz, rgb), network(xyz, rgb), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", [pytest.param("scene", marks=pytest.mark.thorough), "image", "crop"])
def test_a_program_prepares_its_input_as_the_training_did(crops, tmp_path, inputs):
    """Depth does not reach a network on flat clouds; one on crops takes every pixel; a density is a share of them."""
    name = "shufflenetv2" if inputs == "crop" else "ognet"
    torch.manual_seed(0)
    module = ReIDModule(name, model_options=NETWORKS[name], loss="ce", scales=(1.0,)).eval()
    network = Network(name, module, {"inputs": inputs, "density": 1 / 64})
    write_program(network, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    data = ReIDDataModule(crops / "data", train=(), test="people-folder", inputs=inputs, density=1 / 64, num_workers=0)
    data.setup("predict")
    stored = data.evaluation_sets[0].store
    batch = data.on_after_batch_transfer(next(iter(data.predict_dataloader()[0])), 0)
    with torch.no_grad():
        expected = module.predict_step(batch, 0).embedding[:1]
        cloud = batch if inputs == "crop" else solid(stored, data, batch)
        embedding = program(cloud.xyz[:1].clone(), cloud.rgb[:1].clone())
    torch.testing.assert_close(embedding / embedding.norm(), expected, rtol=1e-4, atol=1e-4)


def solid(store: Store, data: ReIDDataModule, batch):
    """The same clouds with their depth."""
    rows = data.evaluation_sets[0].rows[batch.index.numpy()]
    xyz, rgb = (torch.from_numpy(part) for part in store.raw(rows))
    return to_network(batch._replace(xyz=xyz, rgb=rgb), data.num_points(store.points))
