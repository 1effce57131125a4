"""Which values a setting may take, as plain data; checked before torch loads."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from ogreid.errors import nearest_names

__all__ = ["CHOICES", "FILLED", "RANGES", "Range", "complaint"]

CHOICES: dict[str, tuple[str, ...]] = {
    "data.sampling": ("shuffle", "balanced", "per_class", "identity"),
    "data.inputs": ("scene", "image", "crop"),
    "model.name": (
        "ognet",
        "ognet_small",
        "ognet_deep",
        "histogram",
        "dgcnn",
        "pointnet2_ssg",
        "pointnet2_msg",
        "resnet50",
        "densenet121",
        "mobilenetv2",
        "shufflenetv2",
    ),
    "model.last_graph": ("appearance", "position"),
    "model.blend": ("learned", "max", "mean"),
    "model.convolution": ("edge", "sage", "gat", "sum"),
    "model.short_cut": ("none", "before", "after"),
    "model.grouping": ("ball", "nearest"),
    "loss.name": ("ce", "circle", "triplet"),
    "loss.pairs": ("batch", "anchor"),
    "validation.average_precision": ("trapezoid", "step"),
    "ops.backend": ("auto", "fused", "cluster", "plain"),
    "wandb.mode": ("auto", "online", "offline", "disabled"),
}
"""Values a name may take; a test keeps this list equal to the families it speaks for."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``least`` to ``most``.

    Attributes:
        least: the smallest number allowed.
        most: the largest one.
        above: whether ``least`` itself is already too small.
    """

    least: float
    most: float = inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether ``value`` is one of them; NaN and infinity never are."""
        return isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        if self.above:
            return f"more than {self.least}" + ("" if self.most == inf else f", at most {self.most}")
        return f"{self.least} or more" if self.most == inf else f"{self.least} to {self.most}"


_COUNT, _SHARE, _POSITIVE, _FROM_ZERO = Range(1), Range(0, 1), Range(0, above=True), Range(0)
_WIDTH = Range(1, 16_384)  # a product of two such widths is a gigabyte

RANGES: dict[str, Range] = {
    "seed": Range(0, 2**32 - 1),
    "data.points": _COUNT,
    "data.density": Range(0, 1, above=True),
    "data.batch": _COUNT,
    "data.evaluation_batch": _COUNT,
    "data.per_identity": _COUNT,
    "data.workers": _FROM_ZERO,
    "data.augmentation.subset": _SHARE,
    "data.augmentation.mirror": _SHARE,
    "data.augmentation.scale": _POSITIVE,
    "data.augmentation.jitter": _FROM_ZERO,
    "data.augmentation.rotation": Range(0, 180),
    "data.augmentation.erase": _SHARE,
    "data.augmentation.light": _SHARE,
    "model.k": _COUNT,
    "model.widths": _WIDTH,
    "model.kept": _COUNT,
    "model.radii": _POSITIVE,
    "model.samples": _COUNT,
    "model.embedding": _WIDTH,
    "model.convolutions": Range(1, 64),
    "model.narrow": _COUNT,
    "model.size": _COUNT,
    "loss.dropout": _SHARE,
    "loss.label_smoothing": _SHARE,
    "loss.margin": _FROM_ZERO,
    "loss.gamma": _POSITIVE,
    "optimiser.lr": _FROM_ZERO,
    "optimiser.weight_decay": _FROM_ZERO,
    "optimiser.final": _SHARE,
    "optimiser.loss_warmup": _FROM_ZERO,
    "optimiser.average": _SHARE,
    "validation.every": _COUNT,
    "validation.transfer_every": _COUNT,
    "validation.views": _POSITIVE,
    "trainer.max_epochs": Range(-1),
    "trainer.max_steps": Range(-1),
    "trainer.num_nodes": _COUNT,
    "trainer.gradient_clip_val": _FROM_ZERO,
    "trainer.accumulate_grad_batches": _COUNT,
    "trainer.log_every_n_steps": _FROM_ZERO,
    "trainer.save_every_n_steps": _FROM_ZERO,
    "trainer.skip_bad_steps": _FROM_ZERO,
}
"""Numbers a setting may take; of a list, each member."""

FILLED: tuple[str, ...] = ("data.train", "data.retrieval", "validation.views", "model.widths", "model.kept")
"""Lists that must not be empty."""

LONGEST = 64  # modules of a network


def complaint(key: str, value: object) -> str | None:
    """What is wrong with a setting's value, and what was expected; None where nothing is.

    Args:
        key: ``group.key``.
        value: as configured; None ("the variant's own") is never wrong.
    """
    members: list[Any] = value if isinstance(value, list) else [value]
    if key in CHOICES and value is not None and value not in CHOICES[key]:
        return f"{key}: '{value}' is none of its values; {nearest_names(str(value), CHOICES[key])}"
    if key in FILLED and value == []:
        return f"{key}: the list is empty; name one at least"
    if key.startswith("model.") and len(members) > LONGEST:
        return f"{key}: a list of {len(members)}; expected {LONGEST} at most"
    if key == "data.augmentation.scale" and members and (len(members) != 2 or members[0] > members[1]):
        return f"{key}: {value} is no range; expected [smallest, largest], or [] for no scaling"
    wrong = [one for one in members if key in RANGES and one is not None and not _holds(RANGES[key], one)]
    return f"{key}: {wrong[0]} is out of range; expected {RANGES[key]}" if wrong else None


def _holds(allowed: Range, one: object) -> bool:
    return isinstance(one, int | float) and allowed.holds(float(one))
