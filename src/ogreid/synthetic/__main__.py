"""``python -m ogreid.synthetic --contact-sheet OUT.png``: look at the synthetic people."""

from collections.abc import Sequence
from pathlib import Path
from ogreid.config import command_line
from ogreid.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Write a contact sheet of the four domains."""
    parser = command_line.Parser(prog="python -m ogreid.synthetic", description="Look at the synthetic people.")
    parser.add_argument("--contact-sheet", metavar="OUT.png", type=Path, required=True, help="the picture to write")
    parser.add_argument("--people", type=int, default=10, help="columns of each domain (default 10)")
    parser.add_argument("--cameras", type=int, default=4, help="rows of each domain (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    asked = parser.parse_args(argv)
    if min(asked.people, asked.cameras) < 1:
        raise InputError(f"--people {asked.people} --cameras {asked.cameras}: expected 1 or more of each")
    if asked.contact_sheet.suffix != ".png":
        raise InputError(f"{asked.contact_sheet}: expected a name that ends in .png")
    from PIL import Image

    from ogreid.synthetic.sheet import contact_sheet

    try:
        asked.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet(asked.people, asked.cameras, asked.seed)
        # A palette makes the file three times smaller and hardly shows at this size.
        sheet.quantize(256, dither=Image.Dither.NONE).save(asked.contact_sheet, optimize=True)
    except OSError as error:
        raise InputError(f"{asked.contact_sheet}: cannot be written ({error.strerror}); choose another place") from error
    return 0


if __name__ == "__main__":
    command_line.run(main)
