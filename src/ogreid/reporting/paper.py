"""The paper's numbers that fit a run, from ``experiments/published.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ogreid.reporting.reading import RunRecord

__all__ = ["Published", "own_settings", "published_for", "published_tables"]

BENCHMARKS = {"market": "Market-1501", "duke": "DukeMTMC-reID", "msmt": "MSMT17", "cuhk": "CUHK03-NP"}
_VISIBLE = "-visible"
_PAPERS = "trapezoid"


@dataclass(frozen=True)
class Published:
    """One entry of the paper.

    Attributes:
        source: table, and which record where there are several.
        rank1: percent; None where the paper does not say.
        mean_average_precision: percent, trapezoid; None where the paper gives a difference only.
    """

    source: str
    rank1: float | None
    mean_average_precision: float | None

    def numbers(self) -> dict[str, float]:
        """Under the names of ``summary.json``."""
        found = {"rank1": self.rank1, "mAP": self.mean_average_precision}
        return {name: value for name, value in found.items() if value is not None}

    def minus(self, numbers: Mapping[str, float], definition: str) -> dict[str, float]:
        """What ``numbers`` have more than the paper, in percentage points; no mAP of another definition.

        Args:
            numbers: as in ``summary.json``.
            definition: of their mAP, ``trapezoid`` or ``step``.
        """
        comparable = {name: value for name, value in self.numbers().items() if name != "mAP" or definition == _PAPERS}
        return {name: float(numbers[name]) - value for name, value in comparable.items() if name in numbers}


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
    """What the paper reports for this network, loss and input, trained on the same benchmark and judged on ``on``.

    A network with settings of its own finds the ablation that it repeats, else the published network, by that name.
    """
    trained = run.setting("data.train", [])
    if len(trained) != 1 or trained[0].removesuffix(_VISIBLE) not in BENCHMARKS:
        return None
    network = (run.setting("model.name"), run.setting("loss.name"))
    own = own_settings(run)
    if trained[0] != on:
        found = _transfer(trained[0], on, network)
    elif (ablation := _ablation(network, own)) is not None and on == "market":
        return ablation
    else:
        found = _retrieval(on, network, run.setting("data.inputs", "scene"))
    return replace(found, source=f"{found.source}, network as published") if found is not None and own else found


def own_settings(run: RunRecord) -> dict[str, Any]:
    """What the run's network does otherwise than the variant it is named after."""
    settings = dict(run.setting("model", {}))
    return {name: value for name, value in settings.items() if name != "name" and value is not None}


def _retrieval(on: str, network: tuple[str, str], inputs: str) -> Published | None:
    """Table II, or Table I where another input is shown: a store of visible parts is called ``<benchmark>-visible``."""
    benchmark = on.removesuffix(_VISIBLE)
    shown = inputs if benchmark == on else "visible"
    tables = published_tables()
    entries = tables["retrieval"] if shown == "scene" else [e for e in tables["inputs"] if e["inputs"] == shown]
    for entry in entries:
        if (entry["model"], entry["loss"]) == network and benchmark in entry:
            return Published("Table II" if shown == "scene" else "Table I", *entry[benchmark])
    return None


def _ablation(network: tuple[str, str], own: dict[str, Any]) -> Published | None:
    """Tables IV and V."""
    for entry in published_tables()["ablations"]:
        if (entry["model"], entry["loss"]) == network and entry["settings"] == own:
            told = f"Table {entry['table']}, without {entry['part']}"
            if "difference" in entry:
                return Published(f"{told}: mAP {entry['difference']:.2f} lower than with it", None, None)
            return Published(told, None, entry["without"])
    return None


def _transfer(train: str, test: str, network: tuple[str, str]) -> Published | None:
    """Table III is of the base network."""
    for entry in published_tables()["transfer"]:
        fits = (entry["train"], entry["test"]) == (train, test) and entry["loss"] in (None, network[1])
        if fits and network[0] == "ognet":
            return Published(f"Table III, {entry['record']}", entry["rank1"], entry["mAP"])
    return None
