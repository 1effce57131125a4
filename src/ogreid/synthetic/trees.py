"""File names and lists of the four benchmarks, as their real archives have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CropLabel:
    """What a crop is of, before it has a name."""

    split: str  # "train", "val", "query" or "gallery"
    identity: int  # the benchmark's number; -1 junk, 0 distractors in Market-1501
    camera: int  # counted from 1
    number: int  # running number among the identity's crops


@dataclass(frozen=True)
class Layout:
    """How a benchmark lies on disk."""

    path: Callable[[CropLabel], str]  # a crop's path relative to the root
    # List files by name, from the crops with their paths; none where names say everything.
    lists: Callable[[Sequence[tuple[CropLabel, str]]], Mapping[str, str]] = lambda crops: {}
    first_identity: int = 1  # the least number of a training identity
    test_restarts: bool = False  # test identities are counted from the first number again
    holds_back: int = 0  # one of so many training crops is for validation; 0 for none


_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_TIMES = ("0113noon", "0303morning", "0303noon", "0303afternoon", "0302morning", "0302noon")


def _market(crop: CropLabel) -> str:
    frame = 100 + (max(crop.identity, 0) * 977 + crop.number * 25) % 99_000
    identity = "-1" if crop.identity < 0 else f"{crop.identity:04d}"
    # The box number tells apart the crops of junk and distractors, which share an identity.
    box = crop.number // 3_960
    return f"{_FOLDERS[crop.split]}/{identity}_c{crop.camera}s{1 + crop.number % 3}_{frame:06d}_{box:02d}.jpg"


def _duke(crop: CropLabel) -> str:
    frame = 40_000 + (crop.identity * 977 + crop.number * 60) % 9_000_000
    return f"{_FOLDERS[crop.split]}/{crop.identity:04d}_c{crop.camera}_f{frame:07d}.jpg"


def _msmt(crop: CropLabel) -> str:
    folder = "train" if crop.split in ("train", "val") else "test"
    time = _TIMES[(crop.identity + crop.camera) % len(_TIMES)]
    name = f"{crop.identity:04d}_{crop.number:03d}_{crop.camera:02d}_{time}_{15 + 8 * crop.number:04d}_0.jpg"
    return f"{folder}/{crop.identity:04d}/{name}"


def _msmt_lists(crops: Sequence[tuple[CropLabel, str]]) -> dict[str, str]:
    """The four lists; their paths are relative to ``train`` or ``test``."""
    lists = {}
    for split in ("train", "val", "query", "gallery"):
        chosen = [(path.partition("/")[2], crop.identity) for crop, path in crops if crop.split == split]
        lists[f"list_{split}.txt"] = "".join(f"{path} {identity}\n" for path, identity in sorted(chosen))
    return lists


def _cuhk(crop: CropLabel) -> str:
    return f"detected/{_FOLDERS[crop.split]}/{crop.identity:04d}_c{crop.camera}_{crop.number + 1}.png"


LAYOUTS = {
    "market": Layout(_market),
    "duke": Layout(_duke),
    "msmt": Layout(_msmt, _msmt_lists, first_identity=0, test_restarts=True, holds_back=14),
    "cuhk": Layout(_cuhk),
}
