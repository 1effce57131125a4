"""The paper's 2D rivals in plain torch: ResNet-50, DenseNet-121, MobileNetV2, ShuffleNetV2.

They read crops, not clouds: the colors of all pixels row by row. Trained from scratch at 256 x 128 behind a bottleneck
of a linear layer and BatchNorm, the embedding.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError

__all__ = ["ImageNetwork", "densenet121", "mobilenetv2", "resnet50", "shufflenetv2"]

Image = Float[Tensor, "B C H W"]
Deeper = Float[Tensor, "B D h w"]


def conv(
    channels: int,
    width: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, activation; padded so that stride 1 keeps the size."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a short-cut; He et al., CVPR 2016, with the stride in the 3x3 convolution."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        width = 4 * inner
        self.path = nn.Sequential(
            conv(channels, inner), conv(inner, inner, 3, stride=stride), conv(inner, width, activation=None)
        )
        same = channels == width and stride == 1
        self.short = nn.Identity() if same else conv(channels, width, stride=stride, activation=None)

    def forward(self, image: Image) -> Deeper:
        """Add and activate."""
        return functional.relu(self.path(image) + self.short(image))


def resnet50_features() -> tuple[nn.Module, int]:
    """23 508 032 parameters, 2048 channels."""
    layers: list[nn.Module] = [conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for inner, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, inner, stride if block == 0 else 1))
            channels = 4 * inner
    return nn.Sequential(*layers), channels


class DenseLayer(nn.Module):
    """BatchNorm and ReLU before each convolution; the result is appended. Huang et al., CVPR 2017."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            conv(channels, 4 * growth),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, image: Image) -> Deeper:
        """Append."""
        return torch.cat([image, self.path(image)], 1)


def densenet121_features() -> tuple[nn.Module, int]:
    """6 953 856 parameters, 1024 channels."""
    layers: list[nn.Module] = [conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels, growth, blocks = 64, 32, (6, 12, 24, 16)
    for number, block in enumerate(blocks):
        for _ in range(block):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if number < len(blocks) - 1:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers), channels


class InvertedResidual(nn.Module):
    """Widen, 3x3 for each channel alone, narrow without activation. Sandler et al., CVPR 2018."""

    def __init__(self, channels: int, width: int, stride: int, widen: int) -> None:
        super().__init__()
        inner = widen * channels
        path = [conv(channels, inner, activation=nn.ReLU6)] if widen > 1 else []
        path.append(conv(inner, inner, 3, stride=stride, groups=inner, activation=nn.ReLU6))
        self.path = nn.Sequential(*path, conv(inner, width, activation=None))
        self.same = stride == 1 and channels == width

    def forward(self, image: Image) -> Deeper:
        """Add where the shape stays."""
        out: Tensor = self.path(image)
        return image + out if self.same else out


def mobilenetv2_features() -> tuple[nn.Module, int]:
    """2 223 872 parameters, 1280 channels."""
    layers: list[nn.Module] = [conv(3, 32, 3, stride=2, activation=nn.ReLU6)]
    channels = 32
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for widen, width, blocks, stride in plan:
        for block in range(blocks):
            layers.append(InvertedResidual(channels, width, stride if block == 0 else 1, widen))
            channels = width
    return nn.Sequential(*layers, conv(channels, 1280, activation=nn.ReLU6)), 1280


class ShuffleUnit(nn.Module):
    """Two halves, one of them convolved, then shuffled; at stride 2 both see all channels. Ma et al., ECCV 2018."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        half = width // 2
        self.stride = stride
        seen = channels if stride > 1 else half
        self.left: nn.Module = nn.Identity()
        if stride > 1:
            self.left = nn.Sequential(
                conv(seen, seen, 3, stride=stride, groups=seen, activation=None), conv(seen, half)
            )
        self.right = nn.Sequential(
            conv(seen, half), conv(half, half, 3, stride=stride, groups=half, activation=None), conv(half, half)
        )

    def forward(self, image: Image) -> Deeper:
        """Convolve and interleave the halves."""
        left, right = image.chunk(2, 1) if self.stride == 1 else (image, image)
        return functional.channel_shuffle(torch.cat([self.left(left), self.right(right)], 1), 2)


def shufflenetv2_features() -> tuple[nn.Module, int]:
    """1 253 604 parameters, 1024 channels (width factor 1.0)."""
    layers: list[nn.Module] = [conv(3, 24, 3, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels = 24
    for width, units in ((116, 4), (232, 8), (464, 4)):
        for unit in range(units):
            layers.append(ShuffleUnit(channels, width, 2 if unit == 0 else 1))
            channels = width
    return nn.Sequential(*layers, conv(channels, 1024)), 1024


class ImageNetwork(nn.Module):
    """Backbone, mean over the picture, and the bottleneck that is the embedding.

    Shapes: xyz unused, rgb (B, ``height * width_px``, 3) minus 0.5, pixels row by row -> (B, ``embedding``).

    Args:
        features: makes the backbone and says its channels.
        embedding: its width.
        crop: rows and columns of the crop that arrives.
        size: rows and columns that the backbone sees.
    """

    inputs = "crop"
    """What it reads: whole crops in pixel order, where the networks on points read clouds."""

    def __init__(
        self,
        features: Callable[[], tuple[nn.Module, int]],
        *,
        embedding: int = 512,
        crop: Sequence[int] = (128, 64),
        size: Sequence[int] = (256, 128),
    ) -> None:
        super().__init__()
        self.backbone, channels = features()
        self.project = nn.Linear(channels, embedding)
        self.norm = nn.BatchNorm1d(embedding)
        self.width, self.crop, self.size = embedding, tuple(crop), tuple(size)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")

    def forward(self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D"]:
        """Embed a batch of crops.

        Raises:
            InputError: another number of pixels than a crop has.
        """
        rows, columns = self.crop
        if rgb.shape[1] != rows * columns:
            raise InputError(
                f"2D network: {rgb.shape[1]} pixels came, a crop of {rows} x {columns} has {rows * columns}; "
                "give whole crops in pixel order (a raster store, every point, no sampling), or set model.crop"
            )
        image = rgb.transpose(1, 2).reshape(len(rgb), 3, rows, columns)  # (B, 3, H, W)
        image = functional.interpolate(image, size=self.size, mode="bilinear", align_corners=False)
        embedding: Tensor = self.norm(self.project(self.backbone(image).mean((2, 3))))
        return embedding


resnet50 = partial(ImageNetwork, resnet50_features)
"""He et al., CVPR 2016: 24 558 144 parameters with the bottleneck."""

densenet121 = partial(ImageNetwork, densenet121_features)
"""Huang et al., CVPR 2017: 7 479 680 parameters with the bottleneck."""

mobilenetv2 = partial(ImageNetwork, mobilenetv2_features)
"""Sandler et al., CVPR 2018: 2 880 768 parameters with the bottleneck."""

shufflenetv2 = partial(ImageNetwork, shufflenetv2_features)
"""Ma et al., ECCV 2018, width 1.0: 1 779 428 parameters with the bottleneck."""
