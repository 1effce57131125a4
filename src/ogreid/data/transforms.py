"""From a stored cloud to what the network sees: the published selection and augmentation, batched on the device.

Every function takes the whole batch and its random numbers from the `Draws` it is given, so that a batch depends on
(seed, epoch, step) and its rows alone: not on the number of workers or processes, and not on what was drawn before a
resume.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Generator, Tensor
from torch.nn import functional

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
    balls: bool = False,
) -> CloudBatch:
    """Center, select and, in training, augment.

    Args:
        batch: as stored: xyz (B, P, 3) of any float type, rgb (B, P, 3) uint8, or float in [0, 1].
        points: N, how many of the P points are kept, in their order.
        augmentation: what to change in training; None in evaluation.
        draws: on the batch's device; needed with ``augmentation``.
        flat: put every point at depth 0, so that the cloud is the image (x, y, 0) of the paper's Table I.
        balls: erase balls, not rectangles: the points are not the pixels of a crop.

    Returns:
        xyz (B, N, 3) float32, centered by the mean of all P points; rgb (B, N, 3) float32 in [-0.5, 0.5]; ``extra``
        (B, N, C) float32, normals turned with the cloud.
    """
    xyz = batch.xyz.float()
    rgb = batch.rgb.float() / 255 if batch.rgb.dtype == torch.uint8 else batch.rgb.float()
    xyz = xyz - xyz.mean(dim=1, keepdim=True)
    if flat:
        xyz = xyz * xyz.new_tensor([1.0, 1.0, 0.0])
    blank = (rgb.mean(dim=2) - 1).abs() <= BLANK
    rgb = torch.where(blank[..., None], 0.5, rgb) - 0.5
    if augmentation is not None and augmentation.crop:
        assert draws is not None
        xyz, outside = shift_window(xyz, augmentation.crop, draws)
        rgb, blank = rgb.masked_fill(outside[..., None], 0.0), blank | outside
    chosen = select_evenly(blank, points)
    if augmentation is not None:
        assert draws is not None
        random = draws.uniform(len(xyz), 1) < augmentation.subset
        chosen = torch.where(random, select_randomly(blank, points, draws), chosen)
    xyz, rgb = _take(xyz, chosen), _take(rgb, chosen)
    extra = {name: _take(values.float(), chosen) for name, values in batch.extra.items()}
    if augmentation is not None and draws is not None:
        xyz, rgb, extra = augment(xyz, rgb, augmentation, draws, extra, balls=balls)
    return batch._replace(xyz=xyz, rgb=rgb, extra=extra)


def to_crops(
    batch: CloudBatch,
    pixels: Tensor,
    width: int,
    augmentation: Augmentation | None = None,
    draws: Draws | None = None,
) -> CloudBatch:
    """The crops that the clouds were lifted from, for networks that read images.

    Args:
        batch: as stored, points in the store's scattered order.
        pixels: (P,) int64; which stored point each pixel is, row by row.
        width: of the crop.
        augmentation: what to change in training, as far as it concerns images (mirror, crop, erase, colors).
        draws: on the batch's device; needed with ``augmentation``.

    Returns:
        rgb (B, P, 3) float32 in [-0.5, 0.5], row by row; xyz likewise, in meters; ``extra`` likewise, 0 outside.
    """
    order = pixels.expand(len(batch.xyz), -1)
    gray = torch.zeros_like(order, dtype=torch.bool)
    if augmentation is None:
        return _ordered(batch, order, gray)
    assert draws is not None
    outside, side = gray, torch.ones(len(order), 1, 1, device=order.device)
    if augmentation.mirror:
        mirrored = pixels.view(-1, width).flip(1).flatten()
        mirrored_here = draws.uniform(len(order), 1) < augmentation.mirror
        order = torch.where(mirrored_here, mirrored, pixels)
        side = torch.where(mirrored_here, -1.0, 1.0)[..., None]
    number = torch.arange(len(pixels), device=pixels.device)
    place = torch.stack((number % width, number // width), dim=1).expand(len(order), -1, -1)  # (B, P, 2): x, y
    if augmentation.crop:
        size = place.new_tensor([width, len(pixels) // width])
        shift = (augmentation.crop * size * (2 * draws.uniform(len(order), 1, 2) - 1)).round().long()
        seen = (place + shift).clamp(min=torch.zeros_like(size), max=size - 1)
        gray = outside = (seen != place + shift).any(dim=2)
        order = order.gather(1, seen[..., 1] * width + seen[..., 0])
    if augmentation.erase:
        gray = gray | erased_rectangles(place.float(), augmentation.erase, draws)
    batch = _ordered(batch, order, gray)
    rgb = jitter_colors(batch.rgb, augmentation, draws, gray)
    extra = {name: values.masked_fill(outside[..., None], 0.0) for name, values in batch.extra.items()}
    sides = torch.cat((side, torch.ones_like(side), torch.ones_like(side)), dim=2)
    return batch._replace(xyz=batch.xyz * sides, rgb=rgb, extra=_turned(extra, sides))


def mirror(batch: CloudBatch, width: int | None = None) -> CloudBatch:
    """The same people in a mirror.

    Args:
        batch: as a network takes it.
        width: of the crop, where the points are its pixels, row by row; they stay row by row.
    """
    sides = batch.xyz.new_tensor([-1.0, 1.0, 1.0])
    batch = batch._replace(xyz=batch.xyz * sides, extra=_turned(batch.extra, sides))
    if width is None:
        return batch
    order = torch.arange(batch.xyz.shape[1], device=batch.xyz.device).view(-1, width).flip(1).flatten()
    extra = {name: values[:, order] for name, values in batch.extra.items()}
    return batch._replace(xyz=batch.xyz[:, order], rgb=batch.rgb[:, order], extra=extra)


def _ordered(batch: CloudBatch, order: Tensor, gray: Tensor) -> CloudBatch:
    xyz, rgb = _take(batch.xyz.float(), order), _take(batch.rgb.float(), order) / 255 - 0.5
    extra = {name: _take(values.float(), order) for name, values in batch.extra.items()}
    return batch._replace(xyz=xyz, rgb=rgb.masked_fill(gray[..., None], 0.0), extra=extra)


def _turned(extra: Mapping[str, Tensor], factor: Tensor, angle: Tensor | None = None) -> dict[str, Tensor]:
    """Normals of clouds that are scaled by ``factor``, then rotated by ``angle``; other arrays as they are."""
    turned = dict(extra)
    if "normal" in turned:
        normal = functional.normalize(turned["normal"] / factor, dim=2)
        turned["normal"] = normal if angle is None else _rotate(normal, angle)
    return turned


def shift_window(xyz: Tensor, most: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Move the window of each crop by up to ``most`` of its size, without padding.

    Args:
        xyz: (B, P, 3).
        most: largest shift as a share of the cloud's width and height.
        draws: on the clouds' device.

    Returns:
        The clouds (B, P, 3), centered where the new windows are, and (B, P) bool, which points lie outside.
    """
    plane = xyz[..., :2]
    low, high = plane.amin(dim=1, keepdim=True), plane.amax(dim=1, keepdim=True)
    shift = most * (high - low) * (2 * draws.uniform(len(xyz), 1, 2) - 1)
    outside = ((plane < low + shift) | (plane > high + shift)).any(dim=2)
    return torch.cat((plane - shift, xyz[..., 2:]), dim=2), outside


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


def augment(
    xyz: Tensor,
    rgb: Tensor,
    augmentation: Augmentation,
    draws: Draws,
    extra: Mapping[str, Tensor] = MappingProxyType({}),
    *,
    balls: bool = False,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Mirror, scale, rotate, jitter, erase, drop and jitter the colors of each cloud by itself.

    Args:
        xyz: (B, N, 3) centered, meters.
        rgb: (B, N, 3) in [-0.5, 0.5].
        augmentation: probabilities and ranges.
        draws: on the clouds' device.
        extra: further arrays (B, N, C); normals turn with the clouds.
        balls: erase balls, not rectangles of the crop.
    """
    clouds, points, _ = xyz.shape
    uniform, erased = draws.uniform, None
    if augmentation.erase:
        erase = erased_balls if balls else erased_rectangles
        erased = erase(xyz, augmentation.erase, draws)
        rgb = rgb.masked_fill(erased[..., None], 0.0)
    factor = torch.ones(clouds, 1, 3, device=xyz.device)
    if augmentation.scale:
        low, high = augmentation.scale
        factor = low + (high - low) * uniform(clouds, 1, 3)
    factor[:, 0, 0] *= torch.where(uniform(clouds) < augmentation.mirror, -1.0, 1.0)
    xyz, angle = xyz * factor, None
    if augmentation.rotation:
        angle = (uniform(clouds) * 2 - 1) * math.radians(augmentation.rotation)
        xyz = _rotate(xyz, angle)
    if augmentation.jitter:
        noise = draws.normal(*xyz.shape)
        xyz = xyz + (augmentation.jitter * noise).clamp(-augmentation.jitter, augmentation.jitter)
    if augmentation.color_drop:
        start, length = uniform(clouds, 1) * points, uniform(clouds, 1) * points / 4
        place = torch.arange(points, device=xyz.device)
        dropped = (place >= start) & (place < start + length) & (uniform(clouds, 1) < augmentation.color_drop)
        rgb = rgb.masked_fill(dropped[..., None], 0.0)
    return xyz, jitter_colors(rgb, augmentation, draws, erased), _turned(extra, factor, angle)


def jitter_colors(rgb: Tensor, augmentation: Augmentation, draws: Draws, gray: Tensor | None = None) -> Tensor:
    """Less saturation, then a random gain, per channel, and gamma of each cloud.

    Args:
        rgb: (B, N, 3) in [-0.5, 0.5].
        augmentation: ``desaturation``, and ``color_jitter`` as the logarithm of gain and gamma.
        draws: on the clouds' device.
        gray: (B, N) bool; these stay 0.
    """
    clouds, uniform, strength = len(rgb), draws.uniform, augmentation.color_jitter
    if augmentation.desaturation:
        rgb = rgb.lerp(rgb.mean(dim=2, keepdim=True), augmentation.desaturation * uniform(clouds, 1, 1))
    if not strength:
        return rgb
    gain = (strength * (uniform(clouds, 1, 1) * 2 - 1) + strength / 2 * (uniform(clouds, 1, 3) * 2 - 1)).exp()
    gamma = (strength * (uniform(clouds, 1, 1) * 2 - 1)).exp()
    rgb = ((rgb + 0.5).clamp(1e-4, 1).pow(gamma) * gain).clamp(0, 1) - 0.5
    return rgb if gray is None else rgb.masked_fill(gray[..., None], 0.0)


def erased_rectangles(place: Tensor, probability: float, draws: Draws) -> Tensor:
    """Random erasing: which points lie in a rectangle of the image plane.

    The rectangle covers 2 to 40 % of the points' extent, its sides in a ratio of 0.3 to 3.3, as in the source.

    Args:
        place: (B, N, 2 or more); the first two numbers are x and y in the image plane.
        probability: that a cloud has one.
        draws: on the clouds' device.

    Returns:
        (B, N) bool.

    Source: Zhong et al., Random erasing data augmentation, AAAI 2020, algorithm 1.
    """
    plane, clouds = place[..., :2], len(place)
    low = plane.amin(dim=1, keepdim=True)
    extent = plane.amax(dim=1, keepdim=True) - low
    here, area, ratio = draws.uniform(clouds, 3, 1).unbind(dim=1)
    area, ratio = 0.02 + 0.38 * area, (math.log(0.3) + math.log(3.3 / 0.3) * ratio).exp()
    side = (area * extent.prod(dim=2)).sqrt() * torch.cat((ratio.rsqrt(), ratio.sqrt()), dim=1)  # (B, 2)
    side = torch.minimum(side[:, None], extent)
    start = low + (extent - side) * draws.uniform(clouds, 1, 2)
    inside = ((plane >= start) & (plane <= start + side)).all(dim=2)
    erased: Tensor = inside & (here < probability)
    return erased


def erased_balls(xyz: Tensor, probability: float, draws: Draws) -> Tensor:
    """Which points lie in a ball of 0.1 to 0.4 m about one of them; arguments as :func:`erased_rectangles`."""
    clouds, points, _ = xyz.shape
    here, radius, center = draws.uniform(clouds, 3, 1).unbind(dim=1)
    center = _take(xyz, (center * points).long())  # (B, 1, 3)
    erased: Tensor = ((xyz - center).norm(dim=2) <= 0.1 + 0.3 * radius) & (here < probability)
    return erased


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
