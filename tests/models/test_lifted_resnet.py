"""The residual network on lifted crops: what it reads, what it does not depend on, gradients."""

import pytest
import torch

from ogreid.config.schema import Model
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.models.lifted_resnet import KNOWN

CROP = (16, 8)
TINY = {"channels": (8, 12), "blocks": (1, 2), "parts": 4, "embedding": 10, "crop": CROP}
EVERYTHING = ("depth", "foreground", "normal")


def lifted(batch=4, seed=0, dtype=torch.float64):
    """Positions, colors, and what lifting knows of each pixel."""
    generator = torch.Generator().manual_seed(seed)
    pixels = CROP[0] * CROP[1]
    xyz, normal = torch.randn(2, batch, pixels, 3, generator=generator, dtype=dtype)
    rgb = torch.rand(batch, pixels, 3, generator=generator, dtype=dtype) - 0.5
    return xyz, rgb, {"foreground": (xyz[..., :1] > 0).to(dtype), "normal": normal}


def tiny(**options):
    torch.manual_seed(0)
    return build_model("lifted_resnet", **TINY | options).double()


def reads(network, extra):
    return {name: extra[name] for name in network.extra}


@pytest.mark.parametrize(
    "options", [{}, {"parts": 0}, {"pixels": ["depth"]}, {"pixels": EVERYTHING}, {"blocks": [2, 1]}], ids=str
)
def test_every_option_trains(options):
    network = tiny(**options)
    xyz, rgb, extra = lifted()
    embedding = network(xyz, rgb, **reads(network, extra))
    embedding.square().sum().sin().backward()
    assert embedding.shape == (4, 10)
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_gradients_are_those_of_finite_differences():
    network = tiny(pixels=EVERYTHING).eval()
    xyz, rgb, extra = lifted(1)
    assert torch.autograd.gradcheck(
        lambda xyz, rgb, foreground, normal: network(xyz, rgb, foreground=foreground, normal=normal),
        tuple(tensor.requires_grad_() for tensor in (xyz, rgb, *extra.values())),
        fast_mode=True,
    )


@pytest.mark.parametrize(("pixels", "matters"), [(("depth", "foreground"), {"depth", "foreground"}), ((), set())])
def test_it_reads_what_it_was_asked_to_read(pixels, matters):
    network = tiny(pixels=pixels).eval()
    xyz, rgb, extra = lifted()
    base = network(xyz, rgb, **reads(network, extra))
    bent = xyz * torch.tensor([1.0, 1.0, 2.0])
    assert ("depth" in matters) != torch.allclose(network(bent, rgb, **reads(network, extra)), base)
    if "foreground" in matters:
        assert not torch.allclose(network(xyz, rgb, foreground=1 - extra["foreground"]), base)


def test_moving_the_cloud_changes_nothing_and_batch_mates_do_not_matter():
    network = tiny(pixels=EVERYTHING).eval()
    xyz, rgb, extra = lifted()
    base = network(xyz, rgb, **extra)
    torch.testing.assert_close(network(xyz + torch.tensor([3.0, -2.0, 5.0]), rgb, **extra), base)
    torch.testing.assert_close(network(xyz[1:2], rgb[1:2], **{n: v[1:2] for n, v in extra.items()}), base[1:2])


def test_pixels_arrive_row_by_row():
    network = tiny()
    images = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    xyz, rgb, _ = lifted()
    network(xyz, rgb)
    assert torch.equal(images[0][0, :, 1, 2], rgb[0, CROP[1] + 2])  # second row, third column


def test_half_precision_ends_at_the_pooling():
    network = tiny().float()
    xyz, rgb, _ = lifted(8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = network(xyz, rgb)
    assert embedding.dtype == torch.float32
    embedding.square().sum().backward()
    torch.testing.assert_close(embedding, network(xyz, rgb), rtol=0.1, atol=0.1)
    assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize("options", [{"pixels": ["color"]}, {"blocks": [1]}, {"blocks": [0, 1]}, {"parts": 5}], ids=str)
def test_impossible_networks_are_refused(options):
    with pytest.raises(InputError, match="LiftedResNet: expected"):
        tiny(**options)


def test_the_settings_offer_what_the_network_knows():
    assert set(Model.__dataclass_fields__["pixels"].metadata["constraint"].choices) == set(KNOWN)


def test_a_crop_of_another_size_is_refused():
    with pytest.raises(InputError, match="expected 8192 pixels"):
        build_model("lifted_resnet")(torch.zeros(1, 4096, 3), torch.zeros(1, 4096, 3))
