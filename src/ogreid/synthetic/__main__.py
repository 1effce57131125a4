"""``python -m ogreid.synthetic --contact-sheet OUT.png``: look at the synthetic data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ogreid.config import command_line
from ogreid.errors import InputError
from ogreid.synthetic.detections import HEIGHT, WIDTH
from ogreid.synthetic.domains import DOMAINS, detection_of, person_of

GAP = 6  # pixels between the domains


def contact_sheet(people: int = 10, cameras: int = 4, seed: int = 0) -> Image.Image:
    """All domains, two blocks beside each other; in a block a column is a person and a row is a camera."""
    wide, high = people * WIDTH, cameras * HEIGHT
    sheet = np.full((2 * high + GAP, 2 * wide + GAP, 3), 255, dtype=np.uint8)
    for block, domain in enumerate(DOMAINS.values()):
        top, left = block // 2 * (high + GAP), block % 2 * (wide + GAP)
        for column in range(people):
            person = person_of(domain, seed, column)
            for row in range(cameras):  # where a domain has fewer cameras they take turns
                crop = detection_of(domain, seed, 1 + row % domain.cameras, person, 0, column, row).crop
                y, x = top + row * HEIGHT, left + column * WIDTH
                sheet[y : y + HEIGHT, x : x + WIDTH] = crop
    return Image.fromarray(sheet)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a contact sheet of the four domains."""
    parser = command_line.Parser(prog="python -m ogreid.synthetic", description="Look at the synthetic data.")
    parser.add_argument("--contact-sheet", metavar="OUT.png", type=Path, required=True, help="the image to write")
    parser.add_argument("--people", type=int, default=10, help="columns of each domain (default 10)")
    parser.add_argument("--cameras", type=int, default=4, help="rows of each domain (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the data (default 0)")
    options = parser.parse_args(argv)
    target: Path = options.contact_sheet
    if min(options.people, options.cameras) < 1:
        raise InputError(f"--people {options.people} --cameras {options.cameras}: expected 1 or more of each")
    if target.suffix != ".png":
        raise InputError(f"{target}: expected a name that ends in .png")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet(options.people, options.cameras, options.seed)
        # A palette makes the file three times smaller and hardly shows at this size.
        sheet.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from error
    return 0


if __name__ == "__main__":
    command_line.run(main)
