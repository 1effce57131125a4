"""Networks, by name. Each takes ``(xyz, rgb)`` and gives an embedding; ``width`` is the embedding's."""

import inspect
from collections.abc import Callable

from torch import nn

from ogreid.errors import UserError, nearest_names
from ogreid.models.dgcnn import DGCNN
from ogreid.models.histogram import Histogram
from ogreid.models.image_cnn import densenet121, mobilenetv2, resnet50, shufflenetv2
from ogreid.models.ognet import ognet, ognet_deep, ognet_small
from ogreid.models.pointnet2 import pointnet2_msg, pointnet2_ssg

__all__ = ["MODELS", "build_model"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ognet": ognet,
    "ognet_small": ognet_small,
    "ognet_deep": ognet_deep,
    "dgcnn": DGCNN,
    "pointnet2_ssg": pointnet2_ssg,
    "pointnet2_msg": pointnet2_msg,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "mobilenetv2": mobilenetv2,
    "shufflenetv2": shufflenetv2,
    "histogram": Histogram,
}
"""Every network that a configuration can name."""


def build_model(name: str, **overrides: object) -> nn.Module:
    """A network by its name, with fresh weights from torch's generator.

    Networks on points read clouds; those with ``inputs = "crop"`` read every pixel of a crop, row by row.

    Args:
        name: a key of :data:`MODELS`.
        **overrides: arguments of that network, as plain data (see its class).

    Returns:
        A module with ``width`` (int), called as ``network(xyz, rgb)`` with (B, N, 3) float32 each, colours minus 0.5;
        gives (B, width).

    Raises:
        UserError: an unknown name or argument, with the nearest ones; a value that does not fit.
    """
    if name not in MODELS:
        raise UserError(f"model {name!r} is unknown; {nearest_names(name, MODELS)}")
    make = MODELS[name]
    signature = inspect.signature(make)
    for key in overrides:
        if key not in signature.parameters:
            raise UserError(f"model {name}: has no option {key!r}; {nearest_names(key, signature.parameters)}")
    return make(**overrides)
