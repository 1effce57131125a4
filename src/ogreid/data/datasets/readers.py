"""The benchmarks: one table of specifications, one reader."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ogreid.data.datasets.layouts import Flat, Folders, Layout, Lists, NameRule, Row, Tree
from ogreid.data.store.manifest import SPLITS, make_rows
from ogreid.errors import InputError, nearest_names

__all__ = ["ALIASES", "BENCHMARKS", "Benchmark", "Row", "benchmark_named", "read_benchmark", "rows_array"]


MARKET_NAMES = NameRule(r"(?P<identity>-?\d+)_c(?P<camera>\d+)", "0002_c1s1_000451_03.jpg")
DUKE_NAMES = replace(MARKET_NAMES, example="0001_c2_f0046182.jpg")
CUHK_NAMES = replace(MARKET_NAMES, example="0001_c1_1.png")
MSMT_NAMES = NameRule(r"(?P<identity>\d+)_\d+_(?P<camera>\d\d)_", "0000_000_01_0303morning_0015_0.jpg")


@dataclass(frozen=True)
class Benchmark:
    """What is known of a benchmark before it is read.

    Attributes:
        title: as papers write it.
        layouts: how it may lie on disk.
        folders: folders, below the one that the user names, in which a layout may begin.
        rule: identity and camera in the names.
        counts: published pictures per split; empty where there is nothing to check.
        train_identities: published identities in ``train`` and ``val`` together.
        smallest_identity: the smallest number that is a person.
        source: where to get it.
        synthetic: made by ``ogreid.synthetic``, in the layout of the benchmark that it mirrors.
    """

    title: str
    layouts: tuple[Layout, ...]
    folders: tuple[str, ...] = ()
    rule: NameRule = MARKET_NAMES
    counts: Mapping[str, int] = field(default_factory=dict)
    train_identities: int = 0
    smallest_identity: int = 1
    source: str = ""
    synthetic: bool = False


MARKET = Benchmark(
    title="Market-1501",
    layouts=(Folders(), Tree()),
    folders=("Market-1501-v15.09.15", "Market-1501", "2DMarket"),
    counts={"train": 12_936, "query": 3_368, "gallery": 19_732},
    train_identities=751,
    source="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
)
DUKE = Benchmark(
    title="DukeMTMC-reID",
    layouts=(Folders(), Tree()),
    folders=("DukeMTMC-reID", "2DDuke"),
    rule=DUKE_NAMES,
    counts={"train": 16_522, "query": 2_228, "gallery": 17_661},
    train_identities=702,
    source="withdrawn by its authors; use a copy only under its terms",
)
MSMT = Benchmark(
    title="MSMT17",
    layouts=(Lists("train", "test"), Lists("mask_train_v2", "mask_test_v2"), Tree()),
    folders=("MSMT17_V1", "MSMT17_V2", "2DMSMT"),
    rule=MSMT_NAMES,
    counts={"train": 32_621, "query": 11_659, "gallery": 82_161},
    train_identities=1_041,
    smallest_identity=0,
    source="https://www.pkuvmc.com/dataset.html",
)
CUHK = Benchmark(
    title="CUHK03-NP (detected)",
    layouts=(Folders(), Tree()),
    folders=("detected", "cuhk03-np/detected", "2DCUHK"),
    rule=CUHK_NAMES,
    counts={"train": 7_365, "query": 1_400, "gallery": 5_332},
    train_identities=767,
    source="https://github.com/zhunzhong07/person-re-ranking",
)
BENCHMARKS: dict[str, Benchmark] = {
    "market": MARKET,
    "duke": DUKE,
    "msmt": MSMT,
    "cuhk": CUHK,
    "cuhk_labeled": replace(
        CUHK,
        title="CUHK03-NP (labeled)",
        folders=("labeled", "cuhk03-np/labeled"),
        counts={"train": 7_368, "query": 1_400, "gallery": 5_328},
    ),
    "folder": Benchmark(title="a folder of crops", layouts=(Flat(),)),
    "plaza": replace(MARKET, title="plaza (synthetic)", counts={}, train_identities=0, synthetic=True),
    "winter": replace(DUKE, title="winter (synthetic)", counts={}, train_identities=0, synthetic=True),
    "transit": replace(MSMT, title="transit (synthetic)", counts={}, train_identities=0, synthetic=True),
    "platform": replace(CUHK, title="platform (synthetic)", counts={}, train_identities=0, synthetic=True),
}
ALIASES = {
    "market1501": "market",
    "market-1501": "market",
    "dukemtmc": "duke",
    "dukemtmc-reid": "duke",
    "msmt17": "msmt",
    "cuhk03": "cuhk",
    "cuhk03-np": "cuhk",
    "cuhk_detected": "cuhk",
}


def benchmark_named(name: str) -> Benchmark:
    """The specification of a benchmark.

    Raises:
        InputError: unknown; tells the nearest names.
    """
    if name not in BENCHMARKS:
        alias = ALIASES.get(name.lower())
        people = re.search(r"-\d+(-s\d+)?$", name)  # a synthetic store's name, misspelt
        known = [one + people[0] for one, told in BENCHMARKS.items() if told.synthetic] if people else BENCHMARKS
        hint = f"did you mean {alias}?" if alias else nearest_names(name, known)
        raise InputError(f"no benchmark {name!r}; {hint}")
    return BENCHMARKS[name]


def read_benchmark(
    name: str,
    root: str | Path,
    *,
    allow_count_mismatch: bool = False,
    layouts: tuple[Layout, ...] = (),
    folders: tuple[str, ...] = (),
) -> list[Row]:
    """The crops of a benchmark, by split and then in the order of their names.

    Args:
        name: one of :data:`BENCHMARKS`.
        root: the benchmark's folder, or the one in which its archive was unpacked.
        allow_count_mismatch: take it as it is where the counts differ from the published ones.
        layouts: instead of the benchmark's own.
        folders: further folders below ``root`` in which a layout may begin.

    Raises:
        InputError: not there, not whole, a name that fits no pattern, no identity, or one camera only.
    """
    told = benchmark_named(name)
    root = Path(root)
    layout, folder = _find(name, told, root, layouts or told.layouts, (*folders, *told.folders))
    rows = [
        Row(split, identity, camera, path.relative_to(root).as_posix())
        for split, identity, camera, path in layout.rows(folder, told.rule)
    ]
    _check_people(rows, told, folder)
    if not allow_count_mismatch:
        _check_counts(rows, told, name, folder)
    return sorted(rows, key=lambda row: (SPLITS.index(row.split), row.path))


def rows_array(rows: Iterable[Row]) -> np.ndarray:
    """Rows as the structured array that a store keeps; see :func:`ogreid.data.store.manifest.make_rows`."""
    rows = list(rows)
    return make_rows(
        [row.split for row in rows],
        [row.identity for row in rows],
        [row.camera for row in rows],
        [row.path for row in rows],
    )


def _find(
    name: str, told: Benchmark, root: Path, layouts: tuple[Layout, ...], folders: tuple[str, ...]
) -> tuple[Layout, Path]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {_where(told)}")
    for folder in (root, *(root / below for below in folders)):
        for layout in layouts:
            if folder.is_dir() and layout.lies_in(folder):
                return layout, folder
    wanted = " or ".join(layout.wanted for layout in layouts)
    raise InputError(f"{root}: {told.title} is not in it; expected {wanted}; {_where(told)}")


def _where(told: Benchmark) -> str:
    return f"get it: {told.source}" if told.source else "check the path"


def _check_people(rows: list[Row], told: Benchmark, folder: Path) -> None:
    if not any(row.identity >= told.smallest_identity for row in rows):
        raise InputError(
            f"{folder}: zero identities, all {len(rows)} pictures are junk (-1) or distractors (0);"
            f" names begin with the identity, like {told.rule.example}"
        )
    judged = {row.camera for row in rows if row.split in ("query", "gallery")}
    if len(judged) == 1:
        raise InputError(
            f"{folder}: one camera only ({judged.pop()}) in query and gallery; retrieval looks for the same person in"
            f" another camera, so name two at least, like {told.rule.example}"
        )


def _check_counts(rows: list[Row], told: Benchmark, name: str, folder: Path) -> None:
    if not told.counts:
        return
    found = Counter("train" if row.split == "val" else row.split for row in rows)
    wrong = [f"{split} {found[split]} of {count}" for split, count in told.counts.items() if found[split] != count]
    identities = len({row.identity for row in rows if row.split in ("train", "val")})
    if identities != told.train_identities:
        wrong.append(f"training identities {identities} of {told.train_identities}")
    if wrong:
        raise InputError(
            f"{folder}: not the {told.title} that was published: {', '.join(wrong)}; {_likely_cause(rows, told)};"
            " --allow-count-mismatch packs it as it is"
        )


def _likely_cause(rows: list[Row], told: Benchmark) -> str:
    """What most often makes these counts, told by the numbers alone."""
    train = [row for row in rows if row.split == "train"]
    val = [row for row in rows if row.split == "val"]
    names = Counter(row.path.rpartition("/")[2] for row in train + val)
    twice = sum(1 for count in names.values() if count > 1)
    if twice:
        return (
            f"{twice} pictures are in train and in val: the published preparation script ran twice;"
            " delete its output and run it once"
        )
    if val and len({row.identity for row in val}) == 1 and len({row.identity for row in train}) > 1:
        return "all val pictures lie in one identity's folder, as the published preparation script leaves MSMT17's"
    if sum(told.counts.values()) > len(rows):
        return "did the archive unpack whole?"
    return "are copies or another data set mixed in (__MACOSX)?"
