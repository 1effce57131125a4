"""The rivals of Table II: exact sizes, shapes, what they read."""

import pytest
import torch

from ogreid.errors import InputError
from ogreid.models import build_model

POINTS = {
    "dgcnn": 1_366_144,
    "pointnet2_ssg": 1_594_880,
    "pointnet2_msg": 1_865_664,
}
# At 751 classes and without the bottleneck, as their authors count.
IMAGES = {
    "resnet50": (25_046_831, 2048),
    "densenet121": (7_723_631, 1024),
    "mobilenetv2": (3_185_903, 1280),
    "shufflenetv2": (2_023_379, 1024),
}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", POINTS)
def test_rivals_on_points_have_exactly_the_published_parameters(name):
    assert parameters(build_model(name)) == POINTS[name]


@pytest.mark.parametrize("name", IMAGES)
def test_rivals_on_pictures_have_exactly_their_authors_parameters(name):
    count, channels = IMAGES[name]
    network = build_model(name)
    assert parameters(network.backbone) + (channels + 1) * 751 == count
    assert parameters(network) == parameters(network.backbone) + 512 * (channels + 1) + 2 * 512
    assert network.inputs == "crop"


SMALL = {
    "dgcnn": {"widths": (6, 8), "k": 4, "embedding": 10},
    "pointnet2_ssg": {
        "levels": [(20, [(0.4, 6, (8, 8))]), (8, [(0.8, 5, (8, 12))])],
        "final": (12, 16),
        "embedding": 10,
    },
    "pointnet2_msg": {"levels": [(20, [(0.3, 6, (8, 8)), (0.6, 9, (6, 7, 8))])], "final": (12, 16), "embedding": 10},
}


@pytest.mark.parametrize("name", SMALL)
def test_rivals_on_points_train_and_both_backends_agree(name):
    xyz, rgb = torch.randn(3, 50, 3, dtype=torch.float64), torch.rand(3, 50, 3, dtype=torch.float64) - 0.5
    found = []
    for backend in ("plain", "fused"):
        torch.manual_seed(0)
        network = build_model(name, backend=backend, **SMALL[name]).double()
        embedding = network(xyz, rgb)
        embedding.square().sum().sin().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        found.append((embedding.detach(), network.state_dict()))
    torch.testing.assert_close(found[1][0], found[0][0])
    for key, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][key], value, msg=key)
    assert found[0][0].shape == (3, network.width)


@pytest.mark.parametrize("name", ["pointnet2_ssg", "pointnet2_msg"])
def test_a_narrower_pointnet_has_a_part_of_the_widths_and_members(name):
    whole, narrow = build_model(name), build_model(name, kept=(24, 6), narrow=4)
    for level, thin, kept in zip(whole.levels, narrow.levels, (24, 6), strict=True):
        assert (thin.kept, thin.radii, thin.width) == (kept, level.radii, level.width // 4)
        assert thin.samples == [samples // 4 for samples in level.samples]
    assert narrow(torch.randn(2, 30, 3), torch.rand(2, 30, 3) - 0.5).shape == (2, 512)


def test_a_pointnet_keeps_points_at_every_level():
    with pytest.raises(InputError, match=r"kept = \[96\]; expected 2 numbers"):
        build_model("pointnet2_ssg", kept=[96])


@pytest.mark.parametrize("name", IMAGES)
def test_rivals_on_pictures_train(name):
    network = build_model(name, crop=(16, 8), size=[64, 32])  # a list, as YAML gives it
    embedding = network(torch.zeros(2, 128, 3), torch.rand(2, 128, 3) - 0.5)
    embedding.sin().sum().backward()
    assert embedding.shape == (2, 512)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_picture_network_sees_pixels_row_by_row():
    network = build_model("shufflenetv2", crop=(4, 2), size=(4, 2))
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rgb = torch.arange(2 * 8 * 3.0).view(2, 8, 3)
    network(torch.zeros(2, 8, 3), rgb)
    assert torch.equal(seen[0][0, :, 1, 1], rgb[0, 3])  # second row, second column


def test_a_sampled_cloud_is_no_picture():
    with pytest.raises(InputError, match="4096 pixels came, a crop of 128 x 64 has 8192"):
        build_model("shufflenetv2")(torch.zeros(1, 4096, 3), torch.zeros(1, 4096, 3))
