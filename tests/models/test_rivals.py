"""The rivals of Table II and the histogram: what they compute and that they learn."""

import pytest
import torch

from ogreid.errors import InputError
from ogreid.models import build_model

END = {"final": (12, 16), "embedding": 10}
POINTS = {
    "dgcnn": {"channels": (6, 8), "k": 4, "embedding": 10},
    "pointnet2_ssg": {"levels": [(20, [(0.4, 6, (8, 8))]), (8, [(0.8, 5, (8, 12))])]} | END,
    "pointnet2_msg": {"levels": [(20, [(0.3, 6, (8, 8)), (0.6, 9, (6, 7, 8))])]} | END,
}
IMAGES = ("resnet50", "densenet121", "mobilenetv2", "shufflenetv2")


@pytest.mark.parametrize("name", POINTS)
def test_rivals_on_points_train_and_both_backends_agree(name, clouds):
    xyz, rgb = clouds(3, 50, dtype=torch.float64)
    results = []
    for backend in ("plain", "fused"):
        torch.manual_seed(0)
        network = build_model(name, backend=backend, **POINTS[name]).double()
        embedding = network(xyz, rgb)
        embedding.square().sum().sin().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        results.append({"embedding": embedding.detach(), **network.state_dict()})
    plain, fused = results
    for key, value in plain.items():
        torch.testing.assert_close(fused[key], value, msg=key)
    assert plain["embedding"].shape == (3, network.width)


@pytest.mark.parametrize("name", ["pointnet2_ssg", "pointnet2_msg"])
@pytest.mark.parametrize("share", [2, 4])
def test_width_mult_scales_channels_and_members(name, share, clouds):
    published, slim = build_model(name), build_model(name, num_kept=(24, 6), width_mult=1 / share)
    for level, thin, count in zip(published.levels, slim.levels, (24, 6), strict=True):
        assert (thin.num_kept, thin.radii, thin.width) == (count, level.radii, level.width // share)
        assert [samples * share for samples in thin.num_samples] == list(level.num_samples)
        for whole, part in zip(level.blocks.parameters(), thin.blocks.parameters(), strict=True):
            assert part.shape[0] * share == whole.shape[0]
    assert slim(*clouds(2, 30)).shape == (2, 512)


@pytest.mark.parametrize("name", IMAGES)
def test_rivals_on_images_train(name):
    network = build_model(name, crop=(16, 8), size=[64, 32])  # a list, as YAML gives it
    embedding = network(torch.zeros(2, 128, 3), torch.rand(2, 128, 3) - 0.5)
    embedding.sin().sum().backward()
    assert embedding.shape == (2, 512)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_an_image_network_reads_pixels_row_by_row():
    network = build_model("shufflenetv2", crop=(4, 2), size=(4, 2))
    images = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    rgb = torch.arange(2 * 8 * 3.0).view(2, 8, 3)
    network(torch.zeros(2, 8, 3), rgb)
    assert torch.equal(images[0][0, :, 1, 1], rgb[0, 3])  # second row, second column


def test_a_sampled_cloud_is_no_crop():
    with pytest.raises(InputError, match="expected 8192 pixels"):
        build_model("shufflenetv2")(torch.zeros(1, 4096, 3), torch.zeros(1, 4096, 3))


def test_the_histogram_counts_colors_and_nothing_else(clouds):
    xyz, rgb = clouds()
    network = build_model("histogram")
    embedding = network(xyz, rgb)
    assert embedding.norm(dim=1) == pytest.approx(1)
    torch.testing.assert_close(network(7 * xyz, rgb[:, torch.randperm(60)]), embedding)
    two = network(xyz[:, :2], torch.tensor([[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]]).expand(4, 2, 3))
    assert two[0, [0, 511]] == pytest.approx(0.5**0.5)
