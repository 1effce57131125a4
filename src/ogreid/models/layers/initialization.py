"""The published initial weights."""

from torch import nn

__all__ = ["initialize_maps", "initialize_projections"]


def initialize_maps(module: nn.Module) -> None:
    """Kaiming normal by fan-in, for maps that the published code writes as 1x1 convolutions; norms N(1, 0.02)."""
    _initialize(module, "fan_in")


def initialize_projections(module: nn.Module) -> None:
    """Kaiming normal by fan-out, for what the published code writes as linear layers; norms N(1, 0.02)."""
    _initialize(module, "fan_out")


def _initialize(module: nn.Module, mode: str) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode=mode)  # type: ignore[arg-type]
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
