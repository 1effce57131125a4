"""A network as a file for other programs: torch.export's, or ONNX."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ogreid import __version__, files
from ogreid.errors import InputError
from ogreid.models import EXTRA
from ogreid.training.inference import Network

log = logging.getLogger(__name__)
CROP_PIXELS = 128 * 64


def write_program(network: Network, target: Path) -> None:
    """``torch.export``'s program of an embedding network: (B, N, 3) xyz and rgb to (B, D), B free.

    The program is called with xyz, rgb and what else the network needs, in this order. The plain operations are
    exported, so that the file needs nothing but torch. N is fixed. A network that was trained
    on flat clouds gets them: its program leaves depth out.

    Args:
        network: see :func:`ogreid.training.inference.load_network`.
        target: written beside, then renamed.
    """
    backbone, inputs = _exportable(network)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch.export itself (pytorch/pytorch#150994)
        program = torch.export.export(backbone, tuple(inputs.values()), dynamic_shapes=_free(inputs))
        with files.atomic_write(target) as file:
            torch.export.save(program, file)
    log.info("%s: program for clouds of %d points, as many as you like at a time", target, inputs["xyz"].shape[1])


def write_onnx(network: Network, target: Path) -> None:
    """An embedding network in ONNX: ``xyz`` and ``rgb`` (B, N, 3), and what else it needs, to ``embedding`` (B, D).

    B is free, N is fixed. What :class:`ogreid.deployment.runtime.Runtime` needs to prepare the inputs is in the file's
    metadata, under ``ogreid``.

    Args:
        network: see :func:`ogreid.training.inference.load_network`.
        target: written beside, then renamed.

    Raises:
        InputError: the packages of ``ogreid[onnx]`` are not installed.
    """
    try:
        import onnxscript  # noqa: F401 - what torch's exporter needs
    except ImportError as error:
        raise InputError(f'--onnx needs more packages ({error.name} is missing): pip install "ogreid[onnx]"') from error
    backbone, inputs = _exportable(network)
    options: dict[str, Any] = {"input_names": list(inputs), "output_names": ["embedding"], "dynamo": True}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's exporter (pytorch/pytorch#150994)
        program = torch.onnx.export(
            backbone,
            tuple(inputs.values()),
            dynamic_shapes=_free(inputs),
            verbose=False,
            **options,
        )
    assert program is not None
    program.model.metadata_props["ogreid"] = json.dumps(_about(network, inputs))
    with files.atomic_write(target) as file:
        file.write(program.model_proto.SerializeToString())
    log.info("%s: ONNX for clouds of %d points, as many as you like at a time", target, inputs["xyz"].shape[1])


def _exportable(network: Network) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network in its plain form, called with its inputs in order, and inputs of the shapes it takes."""
    data = network.data_module()
    extra = getattr(network.module.network, "extra", ())
    flat = data.config.inputs == "image"
    backbone = (_Flat(network.module.network) if flat else network.module.network).eval()
    for part in backbone.modules():
        if hasattr(part, "backend"):
            part.backend = "plain"  # type: ignore[assignment]  # a name, where nn.Module expects tensors and modules
    stored = max(CROP_PIXELS, data.config.num_points)
    points = CROP_PIXELS if data.config.inputs == "crop" else data.num_points(stored)
    # Two tensors on purpose: one given twice would be exported as one input. Two clouds: one would fix B.
    xyz, rgb = torch.randn(2, 2, points, 3, generator=torch.Generator().manual_seed(0))
    inputs = {"xyz": xyz, "rgb": rgb} | {name: torch.rand(2, points, EXTRA[name]) for name in extra}
    return _Positional(backbone, tuple(inputs)), inputs


def _free(inputs: dict[str, Tensor]) -> tuple[tuple[dict[int, Any], ...]]:
    clouds = torch.export.Dim("clouds")
    return (tuple({0: clouds} for _ in inputs),)


def _about(network: Network, inputs: dict[str, Tensor]) -> dict[str, Any]:
    config = network.data_module().config
    return {
        "version": __version__,
        "name": network.name,
        "inputs": config.inputs,
        "extra": [name for name in inputs if name not in ("xyz", "rgb")],
        "points": inputs["xyz"].shape[1],
        "scales": list(network.module.scales),
        "mirror": bool(network.module.hparams["mirror"]),
        "normalization": "xyz in meters, minus its mean over all points; rgb / 255 - 0.5",
    }


class _Flat(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, xyz: Tensor, rgb: Tensor, **extra: Tensor) -> Tensor:
        embedding: Tensor = self.network(xyz * xyz.new_tensor([1.0, 1.0, 0.0]), rgb, **extra)
        return embedding


class _Positional(nn.Module):
    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Tensor:
        embedding: Tensor = self.network(**dict(zip(self.names, inputs, strict=True)))
        return embedding
