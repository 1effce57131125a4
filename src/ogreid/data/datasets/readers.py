"""The data sets: what is known of each, and one reader for all of them."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ogreid.data.datasets.layouts import FLAT, IMAGES, Layout, NameRule, Row, lists, split_folders, tree
from ogreid.data.store.manifest import SPLITS, make_rows
from ogreid.errors import InputError, MissingFileError, nearest_names
from ogreid.registry import DATASETS, resolve

log = logging.getLogger(__name__)
MARKET_NAMES = NameRule(r"(?P<identity>-?\d+)_c(?P<camera>\d+)", "0002_c1s1_000451_03.jpg")


@dataclass(frozen=True)
class Benchmark:
    """What is known of a data set before it is read; an entry of ``ogreid.registry.DATASETS``."""

    title: str  # as papers write it
    layouts: tuple[Layout, ...]  # how it may lie on disk
    folders: tuple[str, ...] = ()  # below the one that the user names, in which a layout may begin
    rule: NameRule = MARKET_NAMES  # identity and camera in the names
    counts: dict[str, int] = field(default_factory=dict)  # published images per split; empty: nothing to check
    train_identities: int = 0  # published, in train and val together
    smallest_identity: int = 1  # the smallest number that is a person
    source: str = ""  # where to get it
    synthetic: bool = False  # made by ogreid.synthetic, in the layout of the data set that it mirrors


_MARKET_FOLDERS = split_folders(train="bounding_box_train", query="query", gallery="bounding_box_test")

MARKET = Benchmark(
    title="Market-1501",
    layouts=(_MARKET_FOLDERS, tree()),
    folders=("Market-1501-v15.09.15", "Market-1501", "2DMarket"),
    counts={"train": 12_936, "query": 3_368, "gallery": 19_732},
    train_identities=751,
    source="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
)
DUKE = Benchmark(
    title="DukeMTMC-reID",
    layouts=(_MARKET_FOLDERS, tree()),
    folders=("DukeMTMC-reID", "2DDuke"),
    rule=replace(MARKET_NAMES, example="0001_c2_f0046182.jpg"),
    counts={"train": 16_522, "query": 2_228, "gallery": 17_661},
    train_identities=702,
    source="withdrawn by its authors; use a copy only under its terms",
)
MSMT = Benchmark(
    title="MSMT17",
    layouts=(lists("train", "test"), lists("mask_train_v2", "mask_test_v2"), tree()),
    folders=("MSMT17_V1", "MSMT17_V2", "2DMSMT"),
    rule=NameRule(r"(?P<identity>\d+)_\d+_(?P<camera>\d\d)_", "0000_000_01_0303morning_0015_0.jpg"),
    counts={"train": 32_621, "query": 11_659, "gallery": 82_161},
    train_identities=1_041,
    smallest_identity=0,
    source="https://www.pkuvmc.com/dataset.html",
)
CUHK = Benchmark(
    title="CUHK03-NP (detected)",
    layouts=(_MARKET_FOLDERS, tree()),
    folders=("detected", "cuhk03-np/detected", "2DCUHK"),
    rule=replace(MARKET_NAMES, example="0001_c1_1.png"),
    counts={"train": 7_365, "query": 1_400, "gallery": 5_332},
    train_identities=767,
    source="https://github.com/zhunzhong07/person-re-ranking",
)
CUHK_LABELED = replace(
    CUHK,
    title="CUHK03-NP (labeled)",
    folders=("labeled", "cuhk03-np/labeled"),
    counts={"train": 7_368, "query": 1_400, "gallery": 5_328},
)
FOLDER = Benchmark(title="a folder of crops", layouts=(FLAT,))
PLAZA, WINTER, TRANSIT, PLATFORM = (
    replace(mirrored, title=f"{name} (synthetic)", counts={}, train_identities=0, synthetic=True)
    for name, mirrored in {"plaza": MARKET, "winter": DUKE, "transit": MSMT, "platform": CUHK}.items()
)


def benchmark_named(name: str) -> Benchmark:
    """The specification of a data set; an InputError has the names nearest to an unknown one."""
    if name not in DATASETS:
        raise InputError(f"no data set {name!r}; {names_like(name)}")
    benchmark: Benchmark = resolve("data set", DATASETS, name)
    return benchmark


def synthetic_domains() -> list[str]:
    """The synthetic ones of ``ogreid.registry.DATASETS``; they are known before ``ogreid.synthetic`` loads."""
    return [name for name in DATASETS if benchmark_named(name).synthetic]


def names_like(name: str, others: Iterable[str] = ()) -> str:
    """What may have been meant by an unknown name of a data set or of ``others``, as a clause for an error message.

    The start of a name decides, ``Market1501`` is ``market``; of a synthetic domain the number is kept, ``plaza8`` is
    ``plaza-8``.
    """
    domains = synthetic_domains()
    real = [one for one in DATASETS if one not in domains]
    starts = [one for one in real if name.lower().startswith(one)]
    if starts and not others:
        return f"did you mean {starts[-1]}?"
    size = re.search(r"\d+(-s\d+)?(-noisy|-exact)?$", name)
    return nearest_names(name, [*real, *(f"{domain}-{size[0] if size else 160}" for domain in domains), *others])


def read_benchmark(
    name: str,
    root: str | Path,
    *,
    allow_count_mismatch: bool = False,
    layouts: tuple[Layout, ...] = (),
    folders: tuple[str, ...] = (),
    rule: NameRule | None = None,
) -> list[Row]:
    """The crops of a data set, by split and then in the order of their names.

    Args:
        name: one of ``ogreid.registry.DATASETS``.
        root: the data set's folder, or the one in which its archive was unpacked.
        allow_count_mismatch: take it as it is where the counts differ from the published ones.
        layouts: instead of the data set's own.
        folders: further folders below ``root`` in which a layout may begin.
        rule: of the names, instead of the data set's own.

    Raises:
        InputError: missing, incomplete, a name that matches no pattern, no identity, or one camera only.
    """
    benchmark, root = benchmark_named(name), Path(root)
    layout, folder = _find(benchmark, root, layouts or benchmark.layouts, (*folders, *benchmark.folders))
    benchmark = replace(benchmark, rule=rule or benchmark.rule)
    entries = layout.entries(folder, benchmark.rule)
    tracklet = benchmark.rule.tracklet
    rows = [Row(*entry[:3], entry[3].relative_to(root).as_posix(), tracklet(entry[3])) for entry in entries]
    _check_identities(rows, benchmark, folder)
    if not benchmark.synthetic:
        paths = {root / row.path for row in rows}
        _check_unread(folder, paths, refuse=not (benchmark.counts or allow_count_mismatch))
    if benchmark.counts and not allow_count_mismatch:
        _check_counts(rows, benchmark, folder)
    return sorted(rows, key=lambda row: (SPLITS.index(row.split), row.path))


def rows_array(rows: Iterable[Row]) -> np.ndarray:
    """Rows as the structured array that a store keeps; see :func:`ogreid.data.store.manifest.make_rows`."""
    split, identity, camera, source, tracklet = map(list, zip(*rows, strict=True))
    return make_rows(split, identity, camera, source, None if None in tracklet else tracklet)


def _find(benchmark: Benchmark, root: Path, layouts: Iterable[Layout], folders: Iterable[str]) -> tuple[Layout, Path]:
    source = f"get it: {benchmark.source}" if benchmark.source else "check the path"
    if not root.is_dir():
        raise MissingFileError(f"{root}: no such folder; {source}")
    for folder in (root, *(root / below for below in folders)):
        for layout in layouts:
            if folder.is_dir() and layout.matches(folder):
                return layout, folder
    expected = " or ".join(layout.expected for layout in layouts)
    raise InputError(f"{root}: {benchmark.title} is not in it; expected {expected}; {source}")


def _check_identities(rows: list[Row], benchmark: Benchmark, folder: Path) -> None:
    example = f"like {benchmark.rule.example}"
    if not any(row.identity >= benchmark.smallest_identity for row in rows):
        what = f"all {len(rows)} images are junk (-1) or distractors (0)"
        raise InputError(f"{folder}: zero identities, {what}; names begin with the identity, {example}")
    cameras = {row.camera for row in rows if row.split in ("query", "gallery")}
    if len(cameras) == 1:
        why = "retrieval looks for the same person in another camera, so name two at least"
        raise InputError(f"{folder}: one camera only ({cameras.pop()}) in query and gallery; {why}, {example}")


def _check_unread(folder: Path, read: set[Path], *, refuse: bool) -> None:
    """Log the files that were not read, by folder and kind; refuse further images where no counts are published."""
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    left = [path for path in paths if path not in read and path.name[0] != "." and path.name != "Thumbs.db"]
    images = sum(path.suffix.lower() in IMAGES and "__MACOSX" not in path.parts for path in left)
    unread = Counter(f"{path.suffix.lower() or 'other'} in {path.parent.relative_to(folder)}/" for path in left)
    kinds = ", ".join(f"{count} {kind}" for kind, count in unread.most_common(5))
    if images and refuse:
        advice = "move them into query/, gallery/ or train/, or leave them out by --allow-count-mismatch"
        raise InputError(f"{folder}: {images} images would not be read ({kinds}); {advice}")
    if unread:
        log.info("%s: %d files are read, %d are not: %s", folder, len(read), unread.total(), kinds)


def _check_counts(rows: list[Row], benchmark: Benchmark, folder: Path) -> None:
    counts = Counter("train" if row.split == "val" else row.split for row in rows)
    counts["training identities"] = len({row.identity for row in rows if row.split in ("train", "val")})
    published = benchmark.counts | {"training identities": benchmark.train_identities}
    wrong = [f"{what} {counts[what]} of {count}" for what, count in published.items() if counts[what] != count]
    if wrong:
        problem = f"not the {benchmark.title} that was published: {', '.join(wrong)}; {_likely_cause(rows, benchmark)}"
        raise InputError(f"{folder}: {problem}; --allow-count-mismatch packs it as it is")


def _likely_cause(rows: list[Row], benchmark: Benchmark) -> str:
    """What most often makes such counts."""
    train, val = ([row for row in rows if row.split == split] for split in ("train", "val"))
    names = Counter(row.path.rpartition("/")[2] for row in train + val)
    if twice := sum(count > 1 for count in names.values()):
        cause = "the published preparation script ran twice; delete its output and run it once"
        return f"{twice} images are in train and in val: {cause}"
    if val and len({row.identity for row in val}) == 1 and len({row.identity for row in train}) > 1:
        return "all val images lie in one identity's folder, as the published preparation script leaves MSMT17's"
    if sum(benchmark.counts.values()) > len(rows):
        return "did the archive unpack whole?"
    return "are copies or another data set mixed in (__MACOSX)?"
