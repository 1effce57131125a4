"""Parameters and floating-point operations of every network, beside the paper's counts."""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ogreid.models import EXTRA, MODELS, build_model

PUBLISHED_PARAMETERS: dict[str, str] = {
    "ognet": "1.95 M",
    "ognet_small": "1.20 M",
    "ognet_deep": "2.47 M",
    "resnet50": "24.56 M",
    "densenet121": "8.50 M with an unused layer of 1000 classes",
    "mobilenetv2": "4.16 M with an unused layer of 1000 classes",
    "shufflenetv2": "1.78 M",
}
"""As Table II prints them, without the classifier; it prints none for DGCNN and PointNet++."""


class ModelRow(NamedTuple):
    """One network: ``parameters`` without a classifier, ``flops`` of one cloud or crop in evaluation."""

    name: str
    parameters: int
    flops: int
    published: str


def count_parameters(network: nn.Module) -> int:
    """Number of trainable and frozen parameters, without buffers."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: nn.Module, points: int = 4096) -> int:
    """Floating-point operations of the matrix products and convolutions of one cloud or crop, two per multiply-add.

    Counted on the plain forms with PyTorch's own counter. A fused form does as many or fewer; the search for
    neighbors, being comparisons, is left out.
    """
    rows, columns = getattr(network, "crop", (0, 0))
    rgb = torch.rand(1, rows * columns or points, 3) - 0.5
    xyz = torch.randn_like(rgb)
    plain = copy.deepcopy(network).eval()
    for part in plain.modules():
        if hasattr(part, "backend"):
            setattr(part, "backend", "plain")  # noqa: B010 - a module's attribute, unknown to the type checker
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain(xyz, rgb, **{name: rgb[..., : EXTRA[name]] for name in getattr(network, "extra", ())})
    return int(counter.get_total_flops())


def model_rows(points: int = 4096) -> list[ModelRow]:
    """A row for each network of :data:`ogreid.registry.MODELS` that learns, in that order."""
    return [
        ModelRow(name, parameters, count_flops(network, points), PUBLISHED_PARAMETERS.get(name, ""))
        for name, network in zip(MODELS, map(build_model, MODELS), strict=True)
        if (parameters := count_parameters(network))
    ]
