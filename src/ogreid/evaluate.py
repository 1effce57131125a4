"""Judge a network: ``python -m ogreid.evaluate --checkpoint RUN --on market duke``."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError

if TYPE_CHECKING:
    from ogreid.training.inference import Judged

EPILOG = """\
examples:
  python -m ogreid.evaluate --checkpoint runs/demo/20260101-120000-0 --on plaza-160 winter-40
  python -m ogreid.evaluate --published DOWNLOADED/ognet_circle --on market
  python -m ogreid.evaluate --model histogram --on people-folder
  python -m ogreid.evaluate --checkpoint RUN --on market --density 0.05 0.25 0.5 1.0
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.evaluate",
        description="Exact retrieval of one network on packed stores, by the released protocol (two views).",
        epilog=EPILOG,
    )
    command_line.which_network(made)
    made.add_argument(
        "--on", nargs="+", action="extend", required=True, metavar="STORE", help="names under the data root, or paths"
    )
    made.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    made.add_argument("--points", type=int, help="points per cloud (default: as trained; 4096 without training)")
    made.add_argument("--devices", type=int, default=1, help="processes that share the work (%(default)s)")
    made.add_argument(
        "--also", nargs="+", action="extend", default=[], metavar="WAY", help="re-ranked, expanded, multi-query"
    )
    made.add_argument(
        "--density",
        nargs="*",
        type=float,
        metavar="SHARE",
        help="test with these shares of the points instead (none named: 0.05, 0.1, 0.2 ... 1)",
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, judge, print."""
    asked = parser().parse_args(argv)
    _check(asked)
    from ogreid.data.datasets.catalogue import check_stores

    root = str(config.data_root(asked.data))
    check_stores(config.Data(root=root, train=[], retrieval=asked.on))
    _check_folder(asked.json)
    from rich.console import Console
    from ogreid.training.train import inference
    from ogreid.ops import collectives
    from ogreid.reporting.terminal import results_table

    network = inference.network_for(asked.checkpoint, asked.published, asked.model, asked.weights)
    if asked.density is not None:
        return _densities(asked, network, root)
    found = inference.judge_stores(network, asked.on, root, points=asked.points, also=asked.also, devices=asked.devices)
    if distributed.rank() != 0:
        return 0
    rows = {(network.name, on): numbers for on, numbers in found.items()}
    paper = _published(asked.checkpoint, found)
    Console().print(results_table(network.name, rows | paper))
    if asked.json is not None:
        told = [{"source": source, "on": on, **numbers} for (source, on), numbers in paper.items()]
        _write(asked.json, {"network": network.name, "retrieval": found, "published": told})
    sys.stdout.flush()
    return 0


def _check(asked: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    if asked.devices < 1:
        raise InputError(f"--devices {asked.devices}: expected 1 or more")
    if asked.points is not None and asked.points < 1:
        raise InputError(f"--points {asked.points}: expected 1 or more")
    _check_folder(asked.json)


def _densities(asked: argparse.Namespace, network: "Judged", root: str) -> int:
    """The same network at several densities: a table, the numbers and a drawing in the run's folder, or at --json."""
    from rich.console import Console

    from ogreid import runs
    from ogreid.training.train import densities
    from ogreid.ops import collectives
    from ogreid.reporting.terminal import results_table

    if asked.points is not None or asked.also:
        raise InputError("--density says how many points there are and asks in the plain way; leave --points and --also")
    found = densities.judge_densities(network, asked.on, root, asked.density, asked.devices)
    if distributed.rank() != 0:
        return 0
    rows = {(f"{100 * one['density']:g} %", on): n for one in found for on, n in one["retrieval"].items()}
    console = Console()
    console.print(results_table(f"{network.name}, share of the points", rows))
    run = runs.open_run(asked.checkpoint).folder if asked.checkpoint else None
    path = asked.json or (run / "density.json" if run else None)
    if path is not None:
        trained = None if asked.model else densities.trained_density(network, asked.on[0], root)
        picture = densities.write_densities(path, network.name, trained, found)
        console.print(f"numbers  {path}\nplot     {picture}", soft_wrap=True, highlight=False)
    return 0


def _published(checkpoint: str | None, judged: Iterable[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Rows of the paper that fit a run of ours."""
    from ogreid import runs
    from ogreid.reporting import read_run
    from ogreid.reporting.paper import published_for

    if checkpoint is None:
        return {}
    run = read_run(runs.open_run(checkpoint).folder)
    found = {on: published_for(run, on) for on in judged}
    return {(f"paper, {entry.source}", on): entry.numbers() for on, entry in found.items() if entry is not None}


def _write(path: Path, content: dict[str, object]) -> None:
    from ogreid.files import write_text

    write_text(path, json.dumps(content, indent=2) + "\n")


def _check_folder(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it or choose another --json")


if __name__ == "__main__":
    command_line.run(main)
