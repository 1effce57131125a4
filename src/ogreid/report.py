"""Tell runs on a page: ``python -m ogreid.report RUN... [--open] [--markdown] [--csv]``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.report runs/demo/20260101-120000-0 --open       one page in the run's own folder
  python -m ogreid.report runs/demo/* --to seeds.html              several runs on one page
  python -m ogreid.report runs/sweeps/k                             a sweep: its table, its plot, its runs
  python -m ogreid.report runs/demo/* --markdown >> notes.md       their table as text
  python -m ogreid.report --models                                 parameters and operations of every network
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.report",
        description="Write one HTML file that needs nothing else: a run, or several beside each other.",
        epilog=EPILOG,
    )
    made.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders, or the folder of a sweep")
    made.add_argument(
        "--to", type=Path, metavar="FILE", help="the page (RUN/report.html; several runs: comparison.html)"
    )
    made.add_argument("--open", action="store_true", help="show the page in the browser")
    made.add_argument("--no-pictures", action="store_true", help="leave out pictures and clouds of people")
    text = made.add_mutually_exclusive_group()
    text.add_argument("--markdown", action="store_true", help="print the results table as Markdown instead")
    text.add_argument("--csv", action="store_true", help="print the results, unrounded, as CSV instead")
    text.add_argument("--models", action="store_true", help="print every network with its parameters and operations")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    asked = parser().parse_args(argv)
    if asked.models:
        from ogreid.models.summary import model_rows
        from ogreid.reporting.tables import models_table

        sys.stdout.write(models_table(model_rows()))
        return 0
    if not asked.runs:
        raise InputError("which run? give folders like runs/demo/<stamp>-<seed>, or --models")
    from ogreid.reporting import comparison, csv_table, markdown_table

    if asked.markdown or asked.csv:
        rows = comparison.comparison_rows(comparison.named_runs(asked.runs))
        sys.stdout.write(markdown_table(rows) if asked.markdown else csv_table(rows))
        return 0
    command_line.show(_page(asked), browse=asked.open)
    return 0


def _page(asked: argparse.Namespace) -> Path:
    from ogreid.reporting import write_comparison, write_report, write_sweep

    first = asked.runs[0]
    if (first / "sweep.json").is_file():
        if len(asked.runs) > 1:
            raise InputError(f"{first}: a sweep has a page of its own; give it alone")
        return write_sweep(first, asked.to)
    if len(asked.runs) == 1:
        return write_report(first, asked.to, people=not asked.no_pictures)
    return write_comparison(asked.runs, asked.to or Path("comparison.html"))


if __name__ == "__main__":
    command_line.run(main)
