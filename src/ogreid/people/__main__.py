"""``python -m ogreid.people --contact-sheet OUT.png``: look at the synthetic people."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Write a contact sheet of the four domains."""
    parser = argparse.ArgumentParser(prog="python -m ogreid.people", description="Look at the synthetic people.")
    parser.add_argument("--contact-sheet", metavar="OUT.png", type=Path, required=True, help="the picture to write")
    parser.add_argument("--people", type=int, default=10, help="columns of each domain (default 10)")
    parser.add_argument("--cameras", type=int, default=4, help="rows of each domain (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    options = parser.parse_args(argv)
    from ogreid.people.sheet import contact_sheet

    options.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(options.people, options.cameras, options.seed)
    sheet.save(options.contact_sheet, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
