"""The one record that travels from the loader to the loss and to the judges."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["CloudBatch"]


class CloudBatch(NamedTuple):
    """B clouds of N points.

    From the loader it carries what the store holds (``xyz`` float16 or float32, ``rgb`` uint8, all P points);
    after ``ReIDDataModule.on_after_batch_transfer`` it carries what a network takes.

    Attributes:
        xyz: (B, N, 3) meters; x right, y down, z away from the camera; centered once on the device.
        rgb: (B, N, 3) uint8 as stored; on the device float32 in [-0.5, 0.5].
        identity: (B,) int64; 0 to identities - 1 in training, the benchmark's own number when judged.
        camera: (B,) int64.
        index: (B,) int64; the row in the set it came from, so that a judge can tell missing and doubled rows.
    """

    xyz: Tensor
    rgb: Tensor
    identity: Tensor
    camera: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a batch
