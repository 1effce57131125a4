"""Whether a transfer set holds people that are trained on."""

import logging
from collections.abc import Sequence

import numpy as np

from ogreid.data.dataset import CloudDataset, EvaluationSet
from ogreid.data.store.mapped import Store
from ogreid.errors import InputError

log = logging.getLogger(__name__)

OWN = "folder"
"""The benchmark of everybody's own crops, whose file names and identities coincide by chance."""

_SAME_PEOPLE = {"cuhk_labeled": "cuhk"}  # the same images, cropped by hand and by a detector


def refuse_shared(trained: CloudDataset, sets: Sequence[EvaluationSet]) -> None:
    """Refuse a transfer set whose store shows people that are trained on.

    It does where it is of the same synthetic world (domain and seed), where both are of the same benchmark and share
    crops by file name and identity, whatever their colors, and where crops that share both have most colors in common:
    a copy that was packed under another name. Crops of own folders that share names alone are warned of.

    Raises:
        InputError: names both stores and a crop.
    """
    for one in sets:
        theirs = _crops(one.store, np.arange(len(one.store))) if one.transfer else {}
        for number, store in enumerate(trained.stores if one.transfer else ()):
            if reason := _shared(store, _crops(store, trained.row[trained.store == number]), one.store, theirs):
                raise InputError(
                    f"data.transfer: {one.name} holds {reason} ({store.path.name}), so it is no transfer; name it in "
                    "data.test"
                )


def _shared(store: Store, ours: dict[tuple[str, int], int], other: Store, theirs: dict[tuple[str, int], int]) -> str:
    """What of a training store the other one holds, or nothing."""
    worlds, benchmarks = (_world(store), _world(other)), (_benchmark(store), _benchmark(other))
    if worlds[0] is not None and worlds[0] == worlds[1]:
        return "people of {}, seed {}, who are trained on".format(*worlds[0])
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return ""
    crops = f"crops that are trained on, like {store.rows['source'][ours[shared[0]]]}"
    same_benchmark = benchmarks[0] == benchmarks[1] != OWN and worlds == (None, None)
    few = shared[:: max(1, len(shared) // 16)]
    if same_benchmark or np.median([_equal_colors(store, ours[crop], other, theirs[crop]) for crop in few]) > 0.5:
        return crops
    if OWN in benchmarks and len(shared) > min(len(ours), len(theirs)) / 2:
        log.warning(
            "data.transfer: %d of %d crops of %s have file name and identity of a crop of %s with other colors; if "
            "they show the same people, name it in data.test",
            *(len(shared), len(theirs), other.name, store.name),
        )
    return ""


def _world(store: Store) -> tuple[str, int] | None:
    """Domain and seed of a synthetic store, whose people are counted from the same first one."""
    creation = store.manifest.creation
    return (str(creation["domain"]), int(creation["seed"])) if {"domain", "seed"} <= creation.keys() else None


def _benchmark(store: Store) -> str:
    return _SAME_PEOPLE.get(store.manifest.benchmark, store.manifest.benchmark)


def _crops(store: Store, rows: np.ndarray) -> dict[tuple[str, int], int]:
    """Rows by file name, without folder and endings, and identity."""
    names = (source.rpartition("/")[2].partition(".")[0] for source in store.rows["source"][rows].tolist())
    return dict(zip(zip(names, store.rows["identity"][rows].tolist(), strict=True), rows.tolist(), strict=True))


def _equal_colors(one: Store, row: int, other: Store, other_row: int) -> float:
    """Share of points whose color the other cloud has, too; the larger of both directions, white left out."""
    clouds = (store.field("rgb", [i])[0] for store, i in ((one, row), (other, other_row)))
    codes = [cloud.astype(np.int64) @ (65536, 256, 1) for cloud in clouds]
    first, second = (code[code != 0xFFFFFF] for code in codes)  # white: a background left out
    shares = [np.isin(a, b).mean() for a, b in ((first, second), (second, first)) if len(a)]
    return float(max(shares, default=0))
