"""Test-time views: the embedding of a cloud is that of several scales, and of its mirror image, together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogreid.data.batch import CloudBatch
from ogreid.data.transforms import mirror as mirror_batch
from ogreid.errors import InputError


def embed_batch(
    network: nn.Module, batch: CloudBatch, scales: Sequence[float] = (1.0, 1.1), *, mirror: bool = False
) -> Tensor:
    """The sum of the embeddings of all views, normalized.

    Args:
        network: in evaluation mode.
        batch: as the network takes it.
        scales: factors of ``xyz``.
        mirror: embed the mirrored clouds, too.

    Returns:
        (B, D), of length 1 up to the published 1e-6 in the norm.

    Raises:
        InputError: a network on crops that does not say the size of its crops is to see mirrored ones.
    """
    views = [batch]
    if mirror:
        crop: Any = getattr(network, "crop", None)
        if crop is None and getattr(network, "inputs", None) == "crop":
            raise InputError(f"{type(network).__name__} reads crops: mirror=True needs its attribute crop (H, W)")
        views.append(mirror_batch(batch, crop and crop[1]))
    total: Any = sum(network(scale * one.xyz, one.rgb, **one.extra) for one in views for scale in scales)
    embedding: Tensor = total.float()
    unit: Tensor = embedding / (embedding.norm(dim=1, keepdim=True) + 1e-6)
    return unit


def embed_scales(network: nn.Module, xyz: Tensor, rgb: Tensor, scales: Sequence[float] = (1.0, 1.1)) -> Tensor:
    """The released test protocol, :func:`embed_batch` of clouds (B, N, 3) and their colors without a mirror."""
    unknown = torch.full((len(xyz),), -1)
    return embed_batch(network, CloudBatch(xyz, rgb, unknown, unknown, unknown), scales)
