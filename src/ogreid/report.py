"""Write a page or a table of runs: ``python -m ogreid.report RUN... [--to FILE] [--open]``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.report runs/demo/20260101-120000-0 --open       one page in the run's own folder
  python -m ogreid.report runs/demo/* --to seeds.html              several runs on one page
  python -m ogreid.report runs/demo/* --to seeds.csv               their numbers, unrounded, with seeds and settings
  python -m ogreid.report runs/demo/* --markdown >> notes.md       their table as text
  python -m ogreid.report runs/sweeps/k                            a sweep: its table, its plots, its runs
  python -m ogreid.report runs/demo/* runs/sweeps/k --to all.html  the finished runs of a sweep beside others
  python -m ogreid.report --models                                 parameters and operations of every network
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.report",
        description="Write one HTML file that needs nothing else, or a table: of runs and sweeps.",
        epilog=EPILOG,
    )
    command.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders of runs and sweeps")
    command.add_argument("--open", action="store_true", help="show the page in the browser")
    command.add_argument("--no-pictures", action="store_true", help="leave out pictures and clouds of people")
    kind = command.add_mutually_exclusive_group()
    to = ".html, .md or .csv (RUN/report.html; several runs: comparison.html)"
    kind.add_argument("--to", type=Path, metavar="FILE", help=to)
    kind.add_argument("--markdown", action="store_true", help="print the results table as Markdown instead")
    kind.add_argument("--csv", action="store_true", help="print the results, unrounded, as CSV instead")
    kind.add_argument("--models", action="store_true", help="print every network with its parameters and operations")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    arguments = parser().parse_args(argv)
    printed = ".md" if arguments.markdown or arguments.models else ".csv" if arguments.csv else ".html"
    kind = arguments.to.suffix if arguments.to else printed
    if kind not in (".html", ".md", ".csv"):
        raise InputError(f"--to {arguments.to}: expected a name that ends in .html, .md or .csv")
    if arguments.open and kind != ".html":
        raise InputError("--open shows pages; leave it out, or choose a --to that ends in .html")
    if arguments.models:
        from ogreid.models.summary import model_rows
        from ogreid.reporting.tables import Table

        rows = [[name, f"{count:,}", f"{flops / 1e9:.2f}", paper] for name, count, flops, paper in model_rows()]
        sys.stdout.write(Table(["network", "parameters", "GFLOP", "paper"], rows, "lrrl").markdown())
        return 0
    if not arguments.runs:
        raise InputError("expected run folders like runs/demo/<stamp>-<seed>, or --models")
    from ogreid.reporting.pages import report_text, save, write_report

    if kind == ".html":
        page = write_report(*arguments.runs, target=arguments.to, people=not arguments.no_pictures)
        command_line.show(page, browse=arguments.open)
    elif arguments.to:
        command_line.show(save(arguments.to, report_text(*arguments.runs, kind=kind)), browse=False)
    else:
        sys.stdout.write(report_text(*arguments.runs, kind=kind))
    return 0


if __name__ == "__main__":
    command_line.run(main)
