"""The one record that travels from the loader to the loss and to evaluation."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor


class CloudBatch(NamedTuple):
    """B clouds of N points.

    From the loader it carries what the store holds (``xyz`` float16 or float32, ``rgb`` uint8, all P points);
    after ``ReIDDataModule.on_after_batch_transfer`` it carries what a network takes.

    Attributes:
        xyz: (B, N, 3) meters; x right, y down, z away from the camera; centered once on the device.
        rgb: (B, N, 3) uint8 as stored; on the device float32 in [-0.5, 0.5].
        identity: (B,) int64; 0 to ``num_identities - 1`` in training, the benchmark's own number in evaluation.
        camera: (B,) int64.
        index: (B,) int64; the row in the set it came from, so that evaluation notices missing and repeated rows.
        source: of each cloud, the crop's path in its benchmark; given for prediction only.
        extra: further arrays of the store that the network needs: (B, N, 3) ``normal`` and ``body``, (B, N, 1)
            ``foreground``; as stored, on the device float32.
    """

    xyz: Tensor
    rgb: Tensor
    identity: Tensor
    camera: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a batch
    source: tuple[str, ...] = ()
    extra: Mapping[str, Tensor] = MappingProxyType({})
