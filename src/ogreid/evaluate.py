"""Evaluate a network: ``python -m ogreid.evaluate --checkpoint RUN --on market duke``."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ogreid import config, files
from ogreid.config import command_line
from ogreid.errors import InputError

if TYPE_CHECKING:
    from ogreid.training.inference import Network

EPILOG = """\
examples:
  python -m ogreid.evaluate --checkpoint runs/demo/20260101-120000-0 --on plaza-160 winter-40
  python -m ogreid.evaluate --published DOWNLOADED/ognet_circle --on market
  python -m ogreid.evaluate --model histogram --on people-folder
  python -m ogreid.evaluate --checkpoint RUN --on market --density 0.05 0.25 0.5 1.0
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.evaluate",
        description="Evaluate retrieval on packed stores, and lay the numbers beside the paper's.",
        epilog=EPILOG,
    )
    command_line.network_arguments(command)
    command.add_argument(
        "--on", nargs="+", action="extend", required=True, metavar="STORE", help="names under the data root, or paths"
    )
    command.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    command.add_argument("--points", type=int, help="points per cloud (default: as trained; 4096 without training)")
    command.add_argument("--devices", type=int, default=1, help="processes that share the work (%(default)s)")
    command.add_argument(
        "--also", nargs="+", action="extend", default=[], metavar="VARIANT", help="re-ranked, expanded, multi-query"
    )
    command.add_argument(
        "--density",
        nargs="*",
        type=float,
        metavar="SHARE",
        help="test with these shares of the points instead (none named: 0.05, 0.1, 0.2 ... 1)",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, evaluate, print."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    from ogreid.data.datasets.catalogue import check_stores

    check_stores(config.Data(root=arguments.data, train=[], test=arguments.on))
    command_line.quiet()
    from ogreid.training.inference import load_network

    network = load_network(
        arguments.checkpoint, published=arguments.published, model=arguments.model, weights=arguments.weights
    )
    (_evaluate if arguments.density is None else _evaluate_densities)(arguments, network)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    for name in ("devices", "points"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: expected 1 or more, got {value}")
    if arguments.density is not None and (arguments.points is not None or arguments.also):
        raise InputError("--density says the number of points and uses no variants; leave out --points and --also")
    path = arguments.json
    if path is not None and path.suffix != ".json":
        raise InputError(f"{path}: expected a name that ends in .json")
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it or choose another --json")


def _evaluate(arguments: argparse.Namespace, network: "Network") -> None:
    from rich.console import Console

    from ogreid.reporting.terminal import results_table
    from ogreid.training.distributed import rank
    from ogreid.training.inference import evaluate

    changes = {} if arguments.points is None else {"num_points": arguments.points, "density": None}
    results = evaluate(network, arguments.on, arguments.data, also=arguments.also, devices=arguments.devices, **changes)
    if rank() != 0:
        return
    paper = _published(arguments.checkpoint, results)
    Console().print(results_table(network.name, {(network.name, on): one for on, one in results.items()} | paper))
    if arguments.json is not None:
        published = [{"source": source, "on": on, **numbers} for (source, on), numbers in paper.items()]
        content = {"network": network.name, "retrieval": results, "published": published}
        files.write_text(arguments.json, json.dumps(content, indent=2) + "\n")


def _evaluate_densities(arguments: argparse.Namespace, network: "Network") -> None:
    """The same network at several densities: a table, the numbers and a plot in the run's folder, or at --json."""
    from rich.console import Console

    from ogreid.reporting import density_figure
    from ogreid.reporting.terminal import results_table
    from ogreid.runs import Run
    from ogreid.training.distributed import rank
    from ogreid.training.inference import evaluate_densities, trained_density

    rows = evaluate_densities(network, arguments.on, arguments.data, arguments.density, arguments.devices)
    if rank() != 0:
        return
    table = {(f"{100 * row['density']:g} %", on): one for row in rows for on, one in row["retrieval"].items()}
    console = Console()
    console.print(results_table(f"{network.name}, share of the points", table))
    in_run = Path(arguments.checkpoint or "").is_dir() and arguments.checkpoint
    path = arguments.json or (Run.open(arguments.checkpoint).folder / "density.json" if in_run else None)
    if path is not None:
        trained = None if arguments.model else trained_density(network, arguments.on[0], arguments.data)
        content = {"network": network.name, "trained": trained, "densities": rows}
        files.write_text(path, json.dumps(content, indent=2) + "\n")
        files.write_text(path.with_suffix(".svg"), density_figure(rows, trained))
        console.print(f"numbers  {path}\nplot     {path.with_suffix('.svg')}", soft_wrap=True)


def _published(checkpoint: str | None, stores: Iterable[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Rows of the paper that fit a run of ours."""
    from ogreid.reporting.paper import published_for
    from ogreid.runs import Run

    if checkpoint is None or not (Path(checkpoint) / "experiment.yaml").is_file():
        return {}
    experiment = Run.open(checkpoint).experiment()
    entries = {on: published_for(experiment, on) for on in stores}
    return {(f"paper, {entry.source}", on): entry.numbers for on, entry in entries.items() if entry is not None}


if __name__ == "__main__":
    command_line.run(main)
