"""The paper's 2D rivals in plain torch: ResNet-50, DenseNet-121, MobileNetV2, ShuffleNetV2.

They read crops, not clouds: the colors of all pixels row by row. Trained from scratch at 256 x 128 behind a bottleneck
of a linear layer and BatchNorm, the embedding.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.models import Network, record_options

Image = Float[Tensor, "B C H W"]
Features = Float[Tensor, "B D h w"]


class ImageNetwork(Network):
    """Backbone, mean over the image, and the bottleneck that is the embedding.

    Shapes: xyz unused, rgb (B, H W, 3) minus 0.5, pixels row by row -> (B, ``embedding``).

    Args:
        embedding: its width.
        crop: rows and columns (H, W) of the crop that arrives.
        size: rows and columns that the backbone sees.
    """

    inputs = "crop"

    @record_options
    def __init__(
        self, *, embedding: int = 512, crop: Sequence[int] = (128, 64), size: Sequence[int] = (256, 128)
    ) -> None:
        super().__init__()
        layers, channels = self._backbone()
        self.backbone = nn.Sequential(*layers)
        self.project = nn.Linear(channels, embedding)
        self.norm = nn.BatchNorm1d(embedding)
        self.width, self.crop, self.size = embedding, tuple(crop), tuple(size)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")

    def _backbone(self) -> tuple[list[nn.Module], int]:
        """Layers from (B, 3, H, W) to (B, C, h, w), and C."""
        raise NotImplementedError

    def forward(self, xyz: Float[Tensor, "B N 3"], rgb: Float[Tensor, "B N 3"]) -> Float[Tensor, "B D"]:
        rows, columns = check_pixels(self, rgb.shape[1])
        image = rgb.transpose(1, 2).reshape(-1, 3, rows, columns)
        image = functional.interpolate(image, size=self.size, mode="bilinear", align_corners=False)
        embedding: Tensor = self.norm(self.project(self.backbone(image).mean((2, 3))))
        return embedding


def check_pixels(network: Network, pixels: int) -> tuple[int, int]:
    """Rows and columns of the crops that a network reads; an InputError where as many pixels are none."""
    rows, columns = network.crop
    if pixels != rows * columns:
        raise InputError(
            f"{type(network).__name__}: expected {rows * columns} pixels, a crop of {rows} x {columns}, got {pixels}; "
            "use data.inputs=crop and a raster store, or set the network's crop"
        )
    return rows, columns


def conv(
    channels: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, activation; padded so that stride 1 keeps the size."""
    layer = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(width), activation())


def stack(block: Callable[..., nn.Module], channels: int, plan: Sequence[tuple[int, int, int]]) -> list[nn.Module]:
    """Blocks one after another; a row of the plan is width, number of blocks, stride of the first."""
    layers = []
    for width, count, stride in plan:
        for step in [stride] + [1] * (count - 1):
            layers.append(block(channels, width, step))
            channels = width
    return layers


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a residual connection; He et al., CVPR 2016, with the stride in the 3x3 convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        inner = width // 4
        last = conv(inner, width, activation=nn.Identity)
        self.path = nn.Sequential(conv(channels, inner), conv(inner, inner, 3, stride), last)
        same = channels == width and stride == 1
        self.residual = nn.Identity() if same else conv(channels, width, 1, stride, activation=nn.Identity)

    def forward(self, image: Image) -> Features:
        return functional.relu(self.path(image) + self.residual(image))


class ResNet50(ImageNetwork):
    """He et al., CVPR 2016: 24 558 144 parameters with the bottleneck, 23 508 032 without."""

    def _backbone(self) -> tuple[list[nn.Module], int]:
        plan = ((256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2))
        return [conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1), *stack(Bottleneck, 64, plan)], 2048


class DenseLayer(nn.Module):
    """BatchNorm and ReLU before each convolution; the result is appended. Huang et al., CVPR 2017."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        last = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.path = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, 4 * growth), last)

    def forward(self, image: Image) -> Features:
        return torch.cat([image, self.path(image)], 1)


class DenseNet121(ImageNetwork):
    """Huang et al., CVPR 2017: 7 479 680 parameters with the bottleneck, 6 953 856 without."""

    def _backbone(self) -> tuple[list[nn.Module], int]:
        layers: list[nn.Module] = [conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
        channels, growth = 64, 32
        for count in (6, 12, 24, 16):
            if len(layers) > 2:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
            layers += [DenseLayer(channels + growth * number, growth) for number in range(count)]
            channels += growth * count
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        return layers, channels


class InvertedResidual(nn.Module):
    """Widen, 3x3 per channel, reduce without activation. Sandler et al., CVPR 2018."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int = 6) -> None:
        super().__init__()
        inner = expansion * channels
        path = [conv(channels, inner, activation=nn.ReLU6)] if expansion > 1 else []
        path.append(conv(inner, inner, 3, stride, groups=inner, activation=nn.ReLU6))
        self.path = nn.Sequential(*path, conv(inner, width, activation=nn.Identity))
        self.same = stride == 1 and channels == width

    def forward(self, image: Image) -> Features:
        out: Tensor = self.path(image)
        return image + out if self.same else out


class MobileNetV2(ImageNetwork):
    """Sandler et al., CVPR 2018: 2 880 768 parameters with the bottleneck, 2 223 872 without."""

    def _backbone(self) -> tuple[list[nn.Module], int]:
        plan = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
        first = conv(3, 32, 3, stride=2, activation=nn.ReLU6), InvertedResidual(32, 16, 1, expansion=1)
        return [*first, *stack(InvertedResidual, 16, plan), conv(320, 1280, activation=nn.ReLU6)], 1280


class ShuffleUnit(nn.Module):
    """Two halves, one of them convolved, then shuffled; at stride 2 both see all channels. Ma et al., ECCV 2018."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride, half = stride, width // 2
        inputs = channels if stride > 1 else half
        self.left: nn.Module = nn.Identity()
        if stride > 1:
            left = conv(inputs, inputs, 3, stride, inputs, activation=nn.Identity)
            self.left = nn.Sequential(left, conv(inputs, half))
        first, middle = conv(inputs, half), conv(half, half, 3, stride, half, activation=nn.Identity)
        self.right = nn.Sequential(first, middle, conv(half, half))

    def forward(self, image: Image) -> Features:
        left, right = image.chunk(2, 1) if self.stride == 1 else (image, image)
        return functional.channel_shuffle(torch.cat([self.left(left), self.right(right)], 1), 2)


class ShuffleNetV2(ImageNetwork):
    """Ma et al., ECCV 2018, width 1.0: 1 779 428 parameters with the bottleneck, 1 253 604 without."""

    def _backbone(self) -> tuple[list[nn.Module], int]:
        plan = ((116, 4, 2), (232, 8, 2), (464, 4, 2))
        return [conv(3, 24, 3, stride=2), nn.MaxPool2d(3, 2, 1), *stack(ShuffleUnit, 24, plan), conv(464, 1024)], 1024
