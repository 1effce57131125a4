"""A residual network on the pixels of a lifted crop: their colors, and what lifting knows of each.

Axes: B batch, H x W pixels, C channels, h x w cells of the last stage.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.models import EXTRA, Network, record_options
from ogreid.models.image_cnn import check_pixels, conv

KNOWN = {"depth": 1} | {name: EXTRA[name] for name in ("foreground", "normal")}
"""What a pixel may carry beside its color, and how many numbers that is."""
DEPTH = 0.25  # meters that count as one, so that depth is about as large as the other channels
Image = Float[Tensor, "B C H W"]
Features = Float[Tensor, "B D h w"]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a residual connection; He et al., CVPR 2016, Figure 2."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(conv(channels, width, 3, stride), conv(width, width, 3, activation=nn.Identity))
        same = channels == width and stride == 1
        self.residual = nn.Identity() if same else conv(channels, width, 1, stride, activation=nn.Identity)

    def forward(self, image: Image) -> Features:
        return functional.relu(self.path(image) + self.residual(image))


class LiftedResNet(Network):
    """Residual blocks on the grid of pixels, pooled over the whole crop and over its parts.

    Shapes: xyz (B, H W, 3) meters and rgb (B, H W, 3) minus 0.5, pixels row by row; ``foreground`` (B, H W, 1) and
    ``normal`` (B, H W, 3) where they are in ``pixels`` -> (B, ``embedding``).

    Args:
        channels: of the stages; each after the first one halves rows and columns.
        blocks: residual blocks of each stage.
        pixels: what the network gets of each pixel beside its color: ``depth`` (of the body against the mean of the
            crop), ``foreground``, ``normal``.
        parts: horizontal bands of the last stage that are pooled by themselves, beside the whole; 0 for none.
        embedding: its width.
        crop: rows and columns (H, W) of the crop that arrives.

    Raises:
        InputError: unknown pixels, stages without blocks; in ``forward``, a crop of another size.
    """

    inputs = "crop"

    @record_options
    def __init__(
        self,
        channels: Sequence[int] = (20, 40, 80),
        *,
        blocks: Sequence[int] = (1, 2, 2),
        pixels: Sequence[str] = (),
        parts: int = 4,
        embedding: int = 256,
        crop: Sequence[int] = (128, 64),
    ) -> None:
        super().__init__()
        if set(pixels) - set(KNOWN) or len(blocks) != len(channels) or min(blocks, default=0) < 1:
            raise InputError(
                f"LiftedResNet: expected pixels of {', '.join(KNOWN)} and a number of blocks for each of channels, got "
                f"{list(pixels)}, blocks = {list(blocks)} and channels = {list(channels)}"
            )
        rows = -(-crop[0] // 2 ** len(channels))  # of the last stage
        if not 0 <= parts <= rows:
            raise InputError(f"LiftedResNet: expected 0 to {rows} parts, the rows of the last stage, got {parts}")
        self.pixels, self.parts, self.width, self.crop = tuple(pixels), parts, embedding, tuple(crop)
        self.extra = tuple(name for name in self.pixels if name != "depth")
        inputs = 3 + sum(KNOWN[name] for name in self.pixels)
        layers: list[nn.Module] = [conv(inputs, channels[0], 5, stride=2)]
        for stage, (before, width) in enumerate(pairwise((channels[0], *channels))):
            layers.append(ResidualBlock(before, width, 2 if stage else 1))
            layers += [ResidualBlock(width, width, 1) for _ in range(blocks[stage] - 1)]
        self.backbone = nn.Sequential(*layers)
        self.project = nn.Linear(2 * (1 + parts) * channels[-1], embedding, bias=False)
        self.norm = nn.BatchNorm1d(embedding)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # how the pixels arrive

    def forward(
        self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"], **extra: Float[Tensor, "B N _"]
    ) -> Float[Tensor, "B D"]:
        rows, columns = check_pixels(self, rgb.shape[1])
        depth = xyz[..., 2:]
        known = {"depth": (depth - depth.mean(1, keepdim=True)) / DEPTH} | extra
        image = torch.cat([rgb, *(known[name] for name in self.pixels)], 2)
        features = self.backbone(image.reshape(-1, rows, columns, image.shape[2]).permute(0, 3, 1, 2))
        # Pooled and projected in full precision, whatever the convolutions compute in.
        with torch.autocast(features.device.type, enabled=False):
            wide = features.to(self.norm.weight.dtype)
            regions = [wide, *(wide.tensor_split(self.parts, dim=2) if self.parts else ())]
            embedding: Tensor = self.norm(self.project(torch.cat([*map(_pool, regions)], 1)))
        return embedding


def _pool(features: Image) -> Float[Tensor, "B P"]:
    """Mean and maximum over all cells."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
