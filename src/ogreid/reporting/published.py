"""The paper's numbers that fit a run, from ``experiments/published.yaml``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ogreid.reporting.reading import RunRecord

__all__ = ["Published", "published_for", "published_tables"]

BENCHMARKS = {"market": "Market-1501", "duke": "DukeMTMC-reID", "msmt": "MSMT17", "cuhk": "CUHK03-NP"}


@dataclass(frozen=True)
class Published:
    """One entry of the paper.

    Attributes:
        source: table, and which record where there are several.
        rank1: percent.
        mean_average_precision: percent, trapezoid.
    """

    source: str
    rank1: float
    mean_average_precision: float

    def numbers(self) -> dict[str, float]:
        """Under the names of ``summary.json``."""
        return {"rank1": self.rank1, "mAP": self.mean_average_precision}


@cache
def published_tables() -> dict[str, Any]:
    """The whole file, from the source tree or from the installed package."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "experiments" / "published.yaml", package.parents[1] / "experiments" / "published.yaml")
    path = next((path for path in candidates if path.is_file()), None)
    assert path is not None, "published.yaml is part of the package"
    plain = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def published_for(run: RunRecord, on: str) -> Published | None:
    """What the paper reports for this network, loss and input, trained on the same benchmark and judged on ``on``."""
    trained = run.setting("data.train", [])
    if len(trained) != 1 or trained[0] not in BENCHMARKS or on not in BENCHMARKS:
        return None
    network = (run.setting("model.name"), run.setting("loss.name"))
    if trained[0] != on:
        return _transfer(trained[0], on, network)
    shown = run.setting("data.inputs", "scene")
    tables = published_tables()
    entries = tables["retrieval"] if shown == "scene" else [e for e in tables["inputs"] if e["inputs"] == shown]
    for entry in entries:
        if (entry["model"], entry["loss"]) == network and on in entry:
            return Published("Table II" if shown == "scene" else "Table I", *entry[on])
    return None


def _transfer(train: str, test: str, network: tuple[str, str]) -> Published | None:
    """Table III is of the base network."""
    for entry in published_tables()["transfer"]:
        fits = (entry["train"], entry["test"]) == (train, test) and entry["loss"] in (None, network[1])
        if fits and network[0] == "ognet":
            return Published(f"Table III, {entry['record']}", entry["rank1"], entry["mAP"])
    return None
