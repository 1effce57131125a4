"""Evaluate a network: ``python -m ogreid.evaluate --checkpoint RUN --on market duke``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError, nearest_names
from ogreid.registry import VARIANTS

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
    command.add_argument("--also", nargs="+", action="extend", default=[], metavar="VARIANT", help=", ".join(VARIANTS))
    command.add_argument("--by", choices=("crop", "tracklet"), default="crop", help="what is retrieved (%(default)s)")
    command.add_argument(
        "--density", nargs="*", type=float, metavar="SHARE", help="shares of the points (none named: 0.05, 0.1 ... 1)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    command.add_argument("--errors", type=Path, metavar="FILE", help="the hardest pairs of each set, as .csv")
    command.add_argument("--per-query", type=Path, metavar="FILE", help="AP and ranks of each query, .csv or .parquet")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, evaluate, print."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    from ogreid.data.datasets.catalogue import check_stores

    check_stores(config.Data(root=arguments.data, train=[], test=arguments.on))
    command_line.quiet()
    from ogreid.reporting import terminal
    from ogreid.reporting.evaluated import EvaluatedSet, summarize, write_table
    from ogreid.runs import Run
    from ogreid.training.distributed import rank
    from ogreid.training.inference import evaluate, evaluate_densities, load_network, trained_density

    network = load_network(**command_line.network(arguments))
    stores, target, devices = (arguments.on, arguments.data), arguments.json, arguments.devices
    folder = arguments.checkpoint
    run = Run.open(folder) if folder and (Path(folder) / "experiment.yaml").is_file() else None
    if arguments.density is None:
        options: dict[str, Any] = {"num_points": arguments.points, "density": None} if arguments.points else {}
        sets: list[EvaluatedSet] = []
        options |= {"also": arguments.also, "by": arguments.by}
        results = evaluate(network, *stores, devices=devices, sets=sets, **options)
        if rank() == 0:
            terminal.show_results(network.name, results, summarize(sets), run=run, target=target)
            for path, table in ((arguments.errors, EvaluatedSet.errors), (arguments.per_query, EvaluatedSet.queries)):
                if path is not None:
                    write_table(path, [record for one in sets for record in table(one)])
                    command_line.show(path, browse=False)
    else:
        rows = evaluate_densities(network, *stores, arguments.density, devices)
        if rank() == 0:
            trained = None if arguments.model else trained_density(network, arguments.on[0], arguments.data)
            if target is None and run is not None:
                target = run.folder / "density.json"
            terminal.show_densities(network.name, rows, trained=trained, target=target)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    for name in ("devices", "points"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: expected 1 or more, got {value}")
    for name in arguments.also:
        if name not in VARIANTS:
            raise InputError(f"--also {name}: {nearest_names(name, VARIANTS)}")
    if arguments.density is not None and (arguments.points is not None or arguments.also or arguments.by != "crop"):
        plain = "--density says the number of points and evaluates crops, without variants"
        raise InputError(f"{plain}; leave out --points, --also and --by")
    if arguments.density is not None and (arguments.errors or arguments.per_query):
        raise InputError("--errors and --per-query are of one evaluation, --density makes several; leave one out")
    if arguments.by != "crop" and (arguments.errors or arguments.per_query):
        raise InputError("--errors and --per-query name crops; leave out --by tracklet")
    command_line.check_table("--errors", arguments.errors, (".csv",))
    command_line.check_table("--per-query", arguments.per_query, (".csv", ".parquet"))
    if arguments.checkpoint is not None and not Path(arguments.checkpoint).is_file():
        from ogreid.runs import Run

        Run.open(arguments.checkpoint)
    path = arguments.json
    if path is not None and path.suffix != ".json":
        raise InputError(f"{path}: expected a name that ends in .json")
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it or choose another --json")


if __name__ == "__main__":
    command_line.run(main)
