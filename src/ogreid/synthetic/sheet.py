"""A contact sheet: the same people before several cameras, one block per domain."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ogreid.synthetic.domains import DOMAINS, person, sight
from ogreid.synthetic.crops import HEIGHT, WIDTH

__all__ = ["contact_sheet"]

GAP = 6


def contact_sheet(people: int = 10, cameras: int = 4, seed: int = 0) -> Image.Image:
    """All domains, two blocks beside each other; in a block a column is a person and a row is a camera."""
    blocks = [_block(name, people, cameras, seed) for name in DOMAINS]
    beside = np.full((blocks[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    rows = [
        np.concatenate([left, beside, right], axis=1) for left, right in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    below = np.full((GAP, rows[0].shape[1], 3), 255, dtype=np.uint8)
    return Image.fromarray(np.concatenate([rows[0], below, rows[1]], axis=0))


def _block(name: str, people: int, cameras: int, seed: int) -> NDArray[np.uint8]:
    """(cameras * H, people * W, 3) of one domain; where it has fewer cameras they take turns."""
    domain = DOMAINS[name]
    block = np.empty((cameras * HEIGHT, people * WIDTH, 3), dtype=np.uint8)
    for column in range(people):
        dressed = person(domain, seed, column)
        for row in range(cameras):
            crop = sight(domain, seed, 1 + row % domain.cameras, dressed, 0, column, row).crop
            block[row * HEIGHT : (row + 1) * HEIGHT, column * WIDTH : (column + 1) * WIDTH] = crop
    return block
