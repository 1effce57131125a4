"""The paper's numbers that fit an experiment, from ``experiments/published.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ogreid.config import Experiment, options

BENCHMARKS = ("market", "duke", "msmt", "cuhk")
VISIBLE = "-visible"  # ending of a store of the visible parts alone


@dataclass(frozen=True)
class Published:
    """One entry of a table of the paper: ``rank1`` and ``mAP`` (trapezoid) in percent, as far as they are given."""

    source: str
    numbers: dict[str, float]

    def minus(self, numbers: Mapping[str, float], average_precision: str) -> dict[str, float]:
        """``numbers`` of ``summary.json`` minus the paper's in points; of mAP only where both are by the trapezoid."""
        alike = [name for name in self.numbers if name != "mAP" or average_precision == "trapezoid"]
        return {name: float(numbers[name]) - self.numbers[name] for name in alike if name in numbers}


@cache
def published_tables() -> dict[str, Any]:
    """The whole file, from the source tree or from the installed package."""
    package = Path(__file__).resolve().parents[1]
    candidates = (folder / "experiments" / "published.yaml" for folder in (package, package.parents[1]))
    plain = OmegaConf.to_container(OmegaConf.load(next(path for path in candidates if path.is_file())))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def published_for(experiment: Experiment, test: str) -> Published | None:
    """What the paper reports for this network, loss and input, trained on the same benchmark and evaluated on ``test``.

    A network with settings of its own finds the ablation that it repeats, else the published network of that name.
    """
    (train, *others), own = experiment.data.train, own_settings(experiment)
    if others or train.removesuffix(VISIBLE) not in BENCHMARKS:
        return None
    network = (experiment.model.name, experiment.loss.name)
    if train == test == "market" and (ablation := _ablation(network, own)) is not None:
        return ablation
    entry = _retrieval(test, network, experiment.data.inputs) if train == test else _transfer(train, test, network)
    return replace(entry, source=f"{entry.source}, network as published") if entry is not None and own else entry


def own_settings(experiment: Experiment) -> dict[str, Any]:
    """The settings in which the network differs from the variant that it is named after; not what it starts from."""
    return options(experiment.model, "name", "options", "weights", "freeze") | experiment.model.options


def _retrieval(test: str, network: tuple[str, str], inputs: str) -> Published | None:
    """Table II, or Table I for inputs other than the whole cloud."""
    benchmark, tables = test.removesuffix(VISIBLE), published_tables()
    shown = inputs if benchmark == test else "visible"
    entries = tables["retrieval"] if shown == "scene" else [e for e in tables["inputs"] if e["inputs"] == shown]
    table = "Table II" if shown == "scene" else "Table I"
    fit = (entry[benchmark] for entry in entries if (entry["model"], entry["loss"]) == network and benchmark in entry)
    return next((Published(table, {"rank1": rank1, "mAP": mean}) for rank1, mean in fit), None)


def _ablation(network: tuple[str, str], own: dict[str, Any]) -> Published | None:
    """Tables IV and V."""
    for entry in published_tables()["ablations"]:
        if (entry["model"], entry["loss"], entry["settings"]) == (*network, own):
            lower = f": mAP {entry['difference']:.2f} lower than with it" if "difference" in entry else ""
            numbers = {} if lower else {"mAP": entry["without"]}
            return Published(f"Table {entry['table']}, without {entry['part']}{lower}", numbers)
    return None


def _transfer(train: str, test: str, network: tuple[str, str]) -> Published | None:
    """Table III, which is of the base network."""
    for entry in published_tables()["transfer"] if network[0] == "ognet" else ():
        if (entry["train"], entry["test"]) == (train, test) and entry["loss"] in (None, network[1]):
            return Published(f"Table III, {entry['record']}", {key: entry[key] for key in ("rank1", "mAP")})
    return None
