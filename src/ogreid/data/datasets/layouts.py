"""How data sets lie on disk: each layout finds its images and reads identity and camera of each."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ogreid import files
from ogreid.data.store.manifest import OUTSIDE, SPLITS
from ogreid.errors import InputError

log = logging.getLogger(__name__)
MAX_BYTES = 1 << 28  # of a list; MSMT17's longest has 3 million
IMAGES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
Entry = tuple[str, int, int, Path]
"""Split, identity, camera and file of one image."""


class Row(NamedTuple):
    """One crop of a data set; numbers are the data set's own, -1 is junk, 0 a distractor where it has them."""

    split: str  # train, val, query or gallery
    identity: int
    camera: int
    path: str  # relative to the folder that was read, with forward slashes
    tracklet: int | None = None  # number of the sequence of frames that it is from; None where names have none


@dataclass(frozen=True)
class NameRule:
    """Identity and camera in a file's name, and its tracklet where the pattern has that group."""

    pattern: str  # with the groups identity, camera and maybe tracklet; matched from the start of the name
    example: str  # for the error message

    def read(self, path: Path) -> tuple[int, int]:
        """``(identity, camera)``; an InputError names a file that does not match."""
        identity, camera = self._numbers(path, "identity", "camera")
        return identity, camera

    def tracklet(self, path: Path) -> int | None:
        """The number of the tracklet, None where the pattern has no such group; refuses as :meth:`read` does."""
        named = "tracklet" in re.compile(self.pattern).groupindex
        return self._numbers(path, "tracklet")[0] if named else None

    def _numbers(self, path: Path, *groups: str) -> list[int]:
        match = re.match(self.pattern, path.name)
        if match is None:
            expected = f"expected names like {self.example}; rename it or take it out of the folder"
            raise InputError(f"{path}: no identity and camera in the name; {expected}")
        try:
            return [int(match[group]) for group in groups]
        except (TypeError, ValueError) as error:  # a group of a user's pattern that took part in nothing, or text
            values = ", ".join(f"{group} {match[group]!r}" for group in groups)
            raise InputError(f"{path}: {values} by the pattern {self.pattern}; expected whole numbers") from error


def name_rule(pattern: str) -> NameRule:
    """The rule of a regular expression with the groups ``identity`` and ``camera``, for names of any kind.

    A third group, ``tracklet``, may say which images are of one sequence.

    Raises:
        InputError: no such expression, or one with other named groups.
    """
    example = r"(?P<identity>\d+)_c(?P<camera>\d+)"
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise InputError(f"--pattern {pattern}: {error}; expected a regular expression like {example}") from error
    if not {"identity", "camera"} <= set(groups):
        raise InputError(f"--pattern {pattern}: expected the groups identity and camera, like {example}")
    if unknown := sorted(set(groups) - {"identity", "camera", "tracklet"}):
        expected = "expected identity, camera and at most tracklet; write (?:...) for a group that is not kept"
        raise InputError(f"--pattern {pattern}: the group {unknown[0]} means nothing here; {expected}")
    return NameRule(pattern, f"those that {pattern} matches")


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk."""

    expected: str  # what to look for, for the error message
    matches: Callable[[Path], bool]  # whether a folder has it
    entries: Callable[[Path, NameRule], Iterator[Entry]]  # every image of a folder, in a fixed order


def split_folders(**folders: str) -> Layout:
    """One folder of images per split (Market-1501, DukeMTMC-reID, CUHK03-NP): ``train="bounding_box_train"``."""

    def entries(folder: Path, rule: NameRule) -> Iterator[Entry]:
        for split, name in folders.items():
            yield from ((split, *rule.read(path), path) for path in images_in(folder / name))

    first = next(iter(folders.values()))
    return Layout("/, ".join(folders.values()) + "/", lambda folder: (folder / first).is_dir(), entries)


def lists(train: str, test: str) -> Layout:
    """Lists of ``path label`` per split (MSMT17); the label is the identity.

    ``list_train.txt`` and ``list_val.txt`` name images in the folder ``train``, the others in ``test``.
    """

    def entries(folder: Path, rule: NameRule) -> Iterator[Entry]:
        for split in SPLITS:
            path = folder / f"list_{split}.txt"
            if not path.is_file():
                raise InputError(f"{path}: missing; unpack the archive again, the four lists belong to it")
            try:
                lines = files.plain_text(files.read_bytes(path, MAX_BYTES)).decode().split("\n")
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: not a readable list ({error}); unpack the archive again") from error
            images = folder / (train if split in ("train", "val") else test)
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield split, *_listed(line, f"{path}:{number}", images, rule)

    def matches(folder: Path) -> bool:
        return (folder / train).is_dir() and (folder / "list_train.txt").is_file()

    return Layout(f"{train}/, {test}/, list_{{train,val,query,gallery}}.txt", matches, entries)


def _listed(line: str, place: str, images: Path, rule: NameRule) -> tuple[int, int, Path]:
    name, _, label = line.strip().replace("\\", "/").rpartition(" ")
    if not re.fullmatch(r"-?[0-9]{1,18}", label):
        raise InputError(f"{place}: {line!r}; expected an image's path and its label, like {rule.example} 0")
    if OUTSIDE.search(name):
        raise InputError(f"{place}: names {name!r}, outside its folder; do not use this copy")
    path = images / name
    if max(map(len, path.parts)) > 255 or not path.is_file():
        raise InputError(f"{place}: names {path}, which is not there; unpack the archive again")
    return int(label), rule.read(path)[1], path


def tree(suffixes: tuple[str, ...] = IMAGES) -> Layout:
    """The published tree, ``{train,train_all,val,query,gallery}/<ID>/name`` with images or ``.obj`` clouds.

    ``train_all`` is train and val together and is what trains; without it train and val are read.
    """

    def entries(folder: Path, rule: NameRule) -> Iterator[Entry]:
        splits = dict(zip(SPLITS, SPLITS, strict=True))
        if (folder / "train_all").is_dir():
            splits = {"train_all": "train", "query": "query", "gallery": "gallery"}
        for name, split in splits.items():
            for own in sorted(filter(_is_identity, _entries(folder / name))):
                for path in images_in(own, suffixes):
                    identity, camera = rule.read(path)
                    if identity != int(own.name):
                        raise InputError(f"{path}: identity {identity} in the folder of {own.name}; move it")
                    yield split, identity, camera, path

    def matches(folder: Path) -> bool:
        first = next((folder / name for name in ("train_all", "train", "query") if (folder / name).is_dir()), None)
        return first is not None and any(map(_is_identity, first.iterdir()))

    return Layout("train_all/ID/, query/ID/, gallery/ID/", matches, entries)


def _flat(folder: Path, rule: NameRule) -> Iterator[Entry]:
    if splits := {split: split for split in SPLITS if (folder / split).is_dir()}:
        yield from split_folders(**splits).entries(folder, rule)
        return
    images = [(rule.read(path), rule.tracklet(path), path) for path in images_in(folder)]
    if others := sum(key[0] <= 0 for key, _, _ in images):
        log.info("%s: %d images of identity 0 or -1 are distractors and junk, never queries", folder, others)
    units: dict[tuple[int, int], list[int | Path]] = {}  # tracklets, or images where there are none
    for key, tracklet, path in images:
        units.setdefault(key, []).append(path if tracklet is None else tracklet)
    for key, tracklet, path in images:
        own = units[key]
        first = key[0] > 0 and own[0] == (path if tracklet is None else tracklet)
        if first:
            yield "query", *key, path
        if not first or len(set(own)) == 1:
            yield "gallery", *key, path


FLAT = Layout("images, or query/ and gallery/ with images", Path.is_dir, _flat)
"""Images directly in a folder, or in ``train/``, ``val/``, ``query/``, ``gallery/``.

Images directly in it are evaluated: the first of each identity and camera is a query, the others are the gallery; an
only image is both (evaluation leaves out what shares identity and camera with the query). Where names have tracklets,
this holds of whole tracklets. Junk (-1) and distractors (0) are never queries.
"""


def images_in(folder: Path, suffixes: tuple[str, ...] = IMAGES) -> list[Path]:
    """The images directly in a folder (at least one) by name, without what unpacking leaves behind (``._*``)."""
    paths = [path for path in _entries(folder) if path.name.lower().endswith(suffixes) and path.name[:2] != "._"]
    if not paths:
        raise InputError(f"{folder}: no images ({', '.join(suffixes)}) in it; is it the right one, and unpacked whole?")
    return sorted(paths)


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "no such folder" if missing else f"cannot be read ({error.strerror})"
        raise InputError(f"{folder}: {reason}; did the archive unpack whole?") from error


def _is_identity(path: Path) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", path.name) is not None and path.is_dir()
