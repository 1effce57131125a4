"""Pictures drawn from numbers, for places that show images only: a heat map and a scatter plot."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["heat_map", "scatter"]

_COLD, _HOT = np.array([255, 255, 255]), np.array([24, 100, 171])
_INK, _PALE = (33, 37, 41), (255, 255, 255)
_GAP = 8


def heat_map(rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> np.ndarray:
    """A table whose cells are the darker the higher their value.

    Args:
        rows: R names, to the left.
        columns: C names, above.
        values: (R, C) percentages; NaN leaves a cell white with a dash.

    Returns:
        (H, W, 3) uint8, as large as the names need.
    """
    font = ImageFont.load_default(16)
    high = round(font.getbbox("Hg")[3]) + 2 * _GAP
    head = max(round(font.getlength(name)) for name in rows) + 2 * _GAP
    wide = max(round(font.getlength(name)) for name in [*columns, "100.0"]) + 2 * _GAP
    sheet = Image.new("RGB", (head + wide * len(columns), high * (len(rows) + 1)), _PALE)
    draw = ImageDraw.Draw(sheet)
    for c, name in enumerate(columns):
        draw.text((head + (c + 0.5) * wide, high / 2), name, _INK, font, anchor="mm")
    for r, name in enumerate(rows):
        draw.text((head - _GAP, (r + 1.5) * high), name, _INK, font, anchor="rm")
        for c, value in enumerate(values[r]):
            left, top = head + c * wide, (r + 1) * high
            draw.rectangle((left, top, left + wide - 1, top + high - 1), fill=_heat(value))
            text = "-" if np.isnan(value) else f"{value:.1f}"
            draw.text((left + wide / 2, top + high / 2), text, _PALE if value > 55 else _INK, font, anchor="mm")
    return np.asarray(sheet)


def scatter(xy: np.ndarray, group: np.ndarray, side: int = 480) -> np.ndarray:
    """Dots, one color a group, with equal scales along both axes.

    Args:
        xy: (M, 2), y up.
        group: (M,) whatever is told apart.
        side: of the picture in pixels.

    Returns:
        (side, side, 3) uint8.
    """
    known, number = np.unique(group, return_inverse=True)
    colors = [colorsys.hsv_to_rgb(i / len(known), 0.75, 0.8) for i in range(len(known))]
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = (side - 4 * _GAP) / max(float((high - low).max()), 1e-12)
    places = (xy - (low + high) / 2) * scale * np.array([1, -1]) + side / 2
    sheet = Image.new("RGB", (side, side), _PALE)
    draw = ImageDraw.Draw(sheet)
    for (x, y), one in zip(places.tolist(), number.tolist(), strict=True):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=tuple(round(255 * part) for part in colors[one]))
    return np.asarray(sheet)


def _heat(value: float) -> tuple[int, int, int]:
    """From white at 0 to blue at 100."""
    share = 0.0 if np.isnan(value) else min(max(value / 100, 0.0), 1.0)
    red, green, blue = np.rint(_COLD + share * (_HOT - _COLD)).astype(int).tolist()
    return red, green, blue
