"""From a stored cloud to what the network sees: the published selection and augmentation, batched on the device.

Every function takes the whole batch and its random numbers from the `Draws` it is given, so that a batch depends on
(seed, epoch, step) and its rows alone: not on the number of workers or processes, and not on what was drawn before a
resume.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ogreid.config import Augmentation
from ogreid.data.batch import CloudBatch


@dataclass(frozen=True)
class Draws:
    """Random numbers for the clouds of one process.

    Those for the clouds of all processes are drawn, the same on each, and every process keeps its part. So two
    processes with half of a batch each augment it as one process does with the whole, and that costs next to nothing.

    Attributes:
        generator: on the clouds' device; the same on every process.
        rank: this process.
        world: number of processes.
    """

    generator: Generator
    rank: int = 0
    world: int = 1

    def part(self, rank: int, world: int) -> "Draws":
        """The part of one of several processes."""
        return replace(self, rank=rank, world=world)

    def uniform(self, clouds: int, *shape: int) -> Tensor:
        """In [0, 1): (clouds, ...)."""
        drawn = torch.rand(self.world * clouds, *shape, generator=self.generator, device=self.generator.device)
        return drawn[self.rank * clouds : (self.rank + 1) * clouds]

    def normal(self, clouds: int, *shape: int) -> Tensor:
        """Standard normal: (clouds, ...)."""
        drawn = torch.randn(self.world * clouds, *shape, generator=self.generator, device=self.generator.device)
        return drawn[self.rank * clouds : (self.rank + 1) * clouds]


BLANK = 1e-5
"""|mean(rgb) - 1| up to which a point counts as blank (released loader): meant for invisible vertices, which the
published files paint white; it also hits truly white pixels, and must, because the published numbers have it so."""


def to_network(
    batch: CloudBatch,
    points: int,
    augmentation: Augmentation | None = None,
    draws: Draws | None = None,
    *,
    flat: bool = False,
) -> CloudBatch:
    """Center, select and, in training, augment.

    Args:
        batch: as stored: xyz (B, P, 3) of any float type, rgb (B, P, 3) uint8, or float in [0, 1].
        points: N, how many of the P points are kept, in their order.
        augmentation: what to change in training; None in evaluation.
        draws: on the batch's device; needed with ``augmentation``.
        flat: put every point at depth 0, so that the cloud is the image (x, y, 0) of the paper's Table I.

    Returns:
        xyz (B, N, 3) float32, centered by the mean of all P points; rgb (B, N, 3) float32 in [-0.5, 0.5].
    """
    xyz = batch.xyz.float()
    rgb = batch.rgb.float() / 255 if batch.rgb.dtype == torch.uint8 else batch.rgb.float()
    xyz = xyz - xyz.mean(dim=1, keepdim=True)
    if flat:
        xyz = xyz * xyz.new_tensor([1.0, 1.0, 0.0])
    blank = (rgb.mean(dim=2) - 1).abs() <= BLANK
    rgb = torch.where(blank[..., None], 0.5, rgb) - 0.5
    chosen = select_evenly(blank, points)
    if augmentation is not None:
        assert draws is not None
        random = draws.uniform(len(xyz), 1) < augmentation.subset
        chosen = torch.where(random, select_randomly(blank, points, draws), chosen)
    xyz, rgb = _take(xyz, chosen), _take(rgb, chosen)
    if augmentation is not None and draws is not None:
        xyz, rgb = augment(xyz, rgb, augmentation, draws)
    return batch._replace(xyz=xyz, rgb=rgb)


def to_crops(
    batch: CloudBatch, pixels: Tensor, width: int, mirror: float = 0.0, draws: Draws | None = None
) -> CloudBatch:
    """The crops that the clouds were lifted from, for networks that read images.

    Args:
        batch: as stored, points in the store's scattered order.
        pixels: (P,) int64; which stored point each pixel is, row by row.
        width: of the crop.
        mirror: probability of a left-right mirror.
        draws: on the batch's device; needed with ``mirror``.

    Returns:
        rgb (B, P, 3) float32 in [-0.5, 0.5], row by row; xyz likewise, in meters.
    """
    order = pixels.expand(len(batch.xyz), -1)
    if mirror:
        mirrored = pixels.view(-1, width).flip(1).flatten()
        assert draws is not None
        mirrored_here = draws.uniform(len(order), 1) < mirror
        order = torch.where(mirrored_here, mirrored, pixels)
    return batch._replace(xyz=_take(batch.xyz.float(), order), rgb=_take(batch.rgb.float(), order) / 255 - 0.5)


def select_evenly(blank: Tensor, points: int) -> Tensor:
    """Evenly spaced choice among the points that are not blank, as the released code chooses in evaluation.

    Args:
        blank: (B, P) bool.
        points: N.

    Returns:
        (B, N) int64, ascending: ``linspace(0, count - 1, N)`` truncated, over the ``count`` points that are not blank;
        where they are fewer than N, all of them and the first blank ones.
    """
    count = (~blank).sum(dim=1, keepdim=True)
    order = blank.to(torch.int8).argsort(dim=1, stable=True)  # not blank first, each part in its order
    # Multiplied like numpy's linspace (number x step, the last one exact), because the released code truncates that.
    step = (count - 1).clamp(min=0).double() / max(points - 1, 1)
    even = (torch.arange(points, device=blank.device, dtype=torch.float64) * step).to(torch.int64)
    even[:, -1:] = (count - 1).clamp(min=0)
    first = torch.arange(points, device=blank.device).expand_as(even)
    return order.gather(1, torch.where(count >= points, even, first)).sort(dim=1).values


def select_randomly(blank: Tensor, points: int, draws: Draws) -> Tensor:
    """Like :func:`select_evenly`, but a random subset without replacement; (B, N) int64, ascending."""
    keys = draws.uniform(*blank.shape) + blank.float()
    return keys.topk(points, dim=1, largest=False, sorted=False).indices.sort(dim=1).values


def augment(xyz: Tensor, rgb: Tensor, augmentation: Augmentation, draws: Draws) -> tuple[Tensor, Tensor]:
    """Mirror, scale, rotate, jitter, drop and jitter the colors of each cloud by itself.

    Args:
        xyz: (B, N, 3) centered, meters.
        rgb: (B, N, 3) in [-0.5, 0.5].
        augmentation: probabilities and ranges.
        draws: on the clouds' device.
    """
    clouds, points, _ = xyz.shape
    uniform = draws.uniform
    factor = torch.ones(clouds, 1, 3, device=xyz.device)
    if augmentation.scale:
        low, high = augmentation.scale
        factor = low + (high - low) * uniform(clouds, 1, 3)
    factor[:, 0, 0] *= torch.where(uniform(clouds) < augmentation.mirror, -1.0, 1.0)
    xyz = xyz * factor
    if augmentation.rotation:
        xyz = _rotate(xyz, (uniform(clouds) * 2 - 1) * math.radians(augmentation.rotation))
    if augmentation.jitter:
        noise = draws.normal(*xyz.shape)
        xyz = xyz + (augmentation.jitter * noise).clamp(-augmentation.jitter, augmentation.jitter)
    if augmentation.color_drop:
        start, length = uniform(clouds, 1) * points, uniform(clouds, 1) * points / 4
        place = torch.arange(points, device=xyz.device)
        dropped = (place >= start) & (place < start + length) & (uniform(clouds, 1) < augmentation.color_drop)
        rgb = rgb.masked_fill(dropped[..., None], 0.0)
    if augmentation.color_jitter:
        gain = (
            augmentation.color_jitter * (uniform(clouds, 1, 1) * 2 - 1)
            + augmentation.color_jitter / 2 * (uniform(clouds, 1, 3) * 2 - 1)
        ).exp()
        gamma = (augmentation.color_jitter * (uniform(clouds, 1, 1) * 2 - 1)).exp()
        rgb = ((rgb + 0.5).clamp(1e-4, 1).pow(gamma) * gain).clamp(0, 1) - 0.5
    return xyz, rgb


def draws_for(device: torch.device, *numbers: int) -> Draws:
    """Draws on ``device`` that depend on ``numbers`` (seed, epoch, step) and on nothing else."""
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:  # splitmix64, so that neighboring numbers give unrelated streams
        mixed = (mixed + number * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) % 2**64
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
    return Draws(Generator(device=device).manual_seed(mixed % 2**63))


def _take(values: Tensor, chosen: Tensor) -> Tensor:
    return values.gather(1, chosen[..., None].expand(-1, -1, values.shape[2]))


def _rotate(xyz: Tensor, angle: Tensor) -> Tensor:
    """About the vertical (y) axis; ``angle`` (B,) in radians."""
    sine, cosine = angle.sin()[:, None], angle.cos()[:, None]
    x, y, z = xyz.unbind(dim=2)
    return torch.stack((cosine * x + sine * z, y, cosine * z - sine * x), dim=2)
