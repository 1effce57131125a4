"""How benchmarks lie on disk: three shapes of folders, each of which finds its pictures and reads their names."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ogreid import files
from ogreid.data.store.manifest import OUTSIDE
from ogreid.errors import InputError

__all__ = ["Flat", "Folders", "Layout", "Lists", "NameRule", "Row", "Tree", "pictures_in"]

MOST_LISTED = 1 << 28  # bytes of a list; MSMT17's longest has 3 million
PICTURES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Row:
    """One crop of a benchmark.

    Attributes:
        split: ``train``, ``val``, ``query`` or ``gallery``.
        identity: the benchmark's own number; -1 junk, 0 distractors where the benchmark has them.
        camera: the benchmark's own number.
        path: relative to the folder that was read, with forward slashes.
    """

    split: str
    identity: int
    camera: int
    path: str


@dataclass(frozen=True)
class NameRule:
    """Identity and camera in a file's name.

    Attributes:
        pattern: with the groups ``identity`` and ``camera``; matched from the start of the name.
        example: for the error message.
    """

    pattern: str
    example: str

    def read(self, path: Path) -> tuple[int, int]:
        """``(identity, camera)``.

        Raises:
            InputError: the name does not fit; names the file and shows one that does.
        """
        found = re.match(self.pattern, path.name)
        if found is None:
            raise InputError(
                f"{path}: the name does not tell identity and camera; expected names like {self.example};"
                " rename it or take it out of the folder"
            )
        if max(len(found["identity"]), len(found["camera"])) > 18:
            raise InputError(f"{path}: identity or camera of more than 18 digits; expected names like {self.example}")
        return int(found["identity"]), int(found["camera"])


class Layout(Protocol):
    """One way in which a benchmark lies on disk."""

    def lies_in(self, folder: Path) -> bool:
        """Whether this folder has the layout."""

    def rows(self, folder: Path, rule: NameRule) -> Iterator[tuple[str, int, int, Path]]:
        """``(split, identity, camera, path)`` of every picture, in a fixed order."""

    @property
    def wanted(self) -> str:
        """What to look for, for the error message."""


@dataclass(frozen=True)
class Folders:
    """One folder of pictures per split (Market-1501, DukeMTMC-reID, CUHK03-NP)."""

    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    )

    @property
    def wanted(self) -> str:
        """See :class:`Layout`."""
        return "/, ".join(self.splits.values()) + "/"

    def lies_in(self, folder: Path) -> bool:
        """See :class:`Layout`."""
        return (folder / next(iter(self.splits.values()))).is_dir()

    def rows(self, folder: Path, rule: NameRule) -> Iterator[tuple[str, int, int, Path]]:
        """See :class:`Layout`."""
        for split, name in self.splits.items():
            for path in pictures_in(folder / name):
                yield split, *rule.read(path), path


@dataclass(frozen=True)
class Lists:
    """Lists of ``path label`` per split over folders of pictures (MSMT17).

    Attributes:
        train: folder of the pictures that ``list_train.txt`` and ``list_val.txt`` name.
        test: of those in ``list_query.txt`` and ``list_gallery.txt``.
    """

    train: str
    test: str

    @property
    def wanted(self) -> str:
        """See :class:`Layout`."""
        return f"{self.train}/, {self.test}/, list_{{train,val,query,gallery}}.txt"

    def lies_in(self, folder: Path) -> bool:
        """See :class:`Layout`."""
        return (folder / self.train).is_dir() and (folder / "list_train.txt").is_file()

    def rows(self, folder: Path, rule: NameRule) -> Iterator[tuple[str, int, int, Path]]:
        """See :class:`Layout`; the label of the list is the identity."""
        for split in ("train", "val", "query", "gallery"):
            pictures = folder / (self.train if split in ("train", "val") else self.test)
            listed = folder / f"list_{split}.txt"
            if not listed.is_file():
                raise InputError(f"{listed}: missing; unpack the archive again, the four lists belong to it")
            try:
                lines = files.read_bytes(listed, MOST_LISTED).decode("utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise InputError(f"{listed}: not a readable list ({error}); unpack the archive again") from error
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield split, *self._entry(line, f"{listed}:{number}", pictures, rule)

    @staticmethod
    def _entry(line: str, place: str, pictures: Path, rule: NameRule) -> tuple[int, int, Path]:
        name, _, label = line.strip().rpartition(" ")
        if not re.fullmatch(r"-?[0-9]{1,18}", label):
            raise InputError(f"{place}: {line!r}; expected a picture's path and its label, like {rule.example} 0")
        if OUTSIDE.search(name):
            raise InputError(f"{place}: names {name!r}, outside its folder; do not use this copy")
        path = pictures / name
        if max(map(len, path.parts)) > 255 or not path.is_file():
            raise InputError(f"{place}: names {path}, which is not there; unpack the archive again")
        return int(label), rule.read(path)[1], path


@dataclass(frozen=True)
class Tree:
    """The published tree: ``{train,train_all,val,query,gallery}/<ID>/name`` with pictures or ``.obj`` clouds.

    ``train_all`` is train and val together and is what trains; without it train and val are read.

    Attributes:
        suffixes: of the files.
    """

    suffixes: tuple[str, ...] = PICTURES

    @property
    def wanted(self) -> str:
        """See :class:`Layout`."""
        return "train_all/ID/, query/ID/, gallery/ID/"

    def lies_in(self, folder: Path) -> bool:
        """See :class:`Layout`: a split whose first entry is a folder named by a number."""
        for split in ("train_all", "train", "query"):
            if (folder / split).is_dir():
                return any(_is_identity(entry) for entry in (folder / split).iterdir())
        return False

    def rows(self, folder: Path, rule: NameRule) -> Iterator[tuple[str, int, int, Path]]:
        """See :class:`Layout`."""
        whole = (folder / "train_all").is_dir()
        places = {"train_all": "train"} if whole else {"train": "train", "val": "val"}
        for name, split in (places | {"query": "query", "gallery": "gallery"}).items():
            for own in sorted(entry for entry in _entries(folder / name) if _is_identity(entry)):
                for path in pictures_in(own, self.suffixes):
                    identity, camera = rule.read(path)
                    if identity != int(own.name):
                        raise InputError(f"{path}: identity {identity} in the folder of {own.name}; move it")
                    yield split, identity, camera, path


@dataclass(frozen=True)
class Flat:
    """A folder of your own: pictures directly in it, or in ``train/``, ``val/``, ``query/``, ``gallery/``.

    Pictures directly in it are for judging: the first of each identity and camera is a query, the others are the
    gallery; an only picture is both (judging leaves out what shares identity and camera with the query). Junk (-1) and
    distractors (0) are never queries.
    """

    wanted: str = "pictures, or query/ and gallery/ with pictures"

    def lies_in(self, folder: Path) -> bool:
        """See :class:`Layout`: any folder."""
        return folder.is_dir()

    def rows(self, folder: Path, rule: NameRule) -> Iterator[tuple[str, int, int, Path]]:
        """See :class:`Layout`."""
        splits = [split for split in ("train", "val", "query", "gallery") if (folder / split).is_dir()]
        if splits:
            yield from Folders({split: split for split in splits}).rows(folder, rule)
            return
        pictures = [(*rule.read(path), path) for path in pictures_in(folder)]
        counts = Counter((identity, camera) for identity, camera, _ in pictures)
        first = {(identity, camera): path for identity, camera, path in reversed(pictures) if identity > 0}
        yield from (("query", *sighting, path) for sighting, path in first.items())
        for identity, camera, path in pictures:
            if first.get((identity, camera)) != path or counts[identity, camera] == 1:
                yield "gallery", identity, camera, path


def pictures_in(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> list[Path]:
    """The pictures directly in a folder, sorted by name.

    What unpacking and file managers leave behind (``._*``, ``Thumbs.db``, ``__MACOSX``) is passed over.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    found = sorted(
        folder / name for name in _names(folder) if name.lower().endswith(suffixes) and not name.startswith("._")
    )
    if not found:
        raise InputError(
            f"{folder}: no pictures ({', '.join(suffixes)}) in it; is it the right one, and unpacked whole?"
        )
    return found


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder}: no such folder; did the archive unpack whole?") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its rights") from error


def _is_identity(path: Path) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", path.name) is not None and path.is_dir()
