"""Draw the README's picture from a finished demo: a crop, its cloud from four sides, three ranked galleries.

python scripts/journey_picture.py runs/demo/<stamp>-<seed> docs/pictures/journey.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ogreid import runs
from ogreid.data import Store

HEIGHT, GAP = 176, 10
GREEN, RED, INK, PAPER = (22, 140, 70), (200, 50, 50), (40, 44, 50), (255, 255, 255)


def turned(xyz: np.ndarray, rgb: np.ndarray, degrees: float, size: int) -> np.ndarray:
    """A cloud (P, 3) seen after a turn about its upright axis, as (size, size * 3 / 4, 3) uint8."""
    angle = np.radians(degrees)
    centered = xyz - xyz.mean(axis=0)
    x = np.cos(angle) * centered[:, 0] + np.sin(angle) * centered[:, 2]
    depth = np.cos(angle) * centered[:, 2] - np.sin(angle) * centered[:, 0]
    scale = 0.94 * size / np.ptp(centered[:, 1])
    width = size * 3 // 4
    column = np.rint(x * scale + width / 2).astype(int)
    row = np.rint((centered[:, 1] - centered[:, 1].min()) * scale + 0.03 * size).astype(int)
    picture = np.full((size, width, 3), 255, np.uint8)
    for point in np.argsort(-depth, kind="stable"):  # far first; three pixels wide, so that a surface looks closed
        r, c = row[point], column[point]
        if 0 <= r < size and 0 <= c < width:
            picture[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2] = np.rint(rgb[point] * 255)
    return picture


def framed(picture: np.ndarray, color: tuple[int, int, int], height: int) -> Image.Image:
    shown = Image.fromarray(picture).resize((picture.shape[1] * height // picture.shape[0], height), Image.LANCZOS)
    ImageDraw.Draw(shown).rectangle((0, 0, shown.width - 1, shown.height - 1), outline=color, width=3)
    return shown


def row(pictures: list[Image.Image]) -> Image.Image:
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(p.height for p in pictures)), PAPER)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet


def labeled(picture: Image.Image, text: str) -> Image.Image:
    sheet = Image.new("RGB", (picture.width, picture.height + 20), PAPER)
    sheet.paste(picture, (0, 20))
    ImageDraw.Draw(sheet).text((0, 3), text, fill=INK, font=ImageFont.load_default(14))
    return sheet


def main(folder: str, target: str) -> None:
    run = runs.open_run(folder)
    data = run.experiment().data
    name = data.test[0]
    galleries = np.load(run.folder / "pictures" / f"{name}-galleries.npz", allow_pickle=False)
    store = Store.open(Path(data.root) / name)
    kinds = galleries["kind"].tolist()
    first = kinds.index("best")
    source = str(galleries["query_name"][first])
    xyz, rgb = store.clouds(np.flatnonzero(store.rows["source"] == source)[:1])

    crop = labeled(framed(galleries["query"][first], INK, 2 * HEIGHT), "a crop")
    views = [
        labeled(Image.fromarray(turned(xyz[0], rgb[0], angle, 2 * HEIGHT)), text)
        for angle, text in ((0, "its cloud"), (25, "turned by 25 degrees"), (-50, "50 to the other side"))
    ]
    rows = [row([crop, *views])]
    for kind in ("best", "median", "worst"):
        one = kinds.index(kind)
        found = zip(galleries["found"][one], galleries["correct"][one], strict=True)
        shown = [framed(galleries["query"][one], INK, HEIGHT)]
        shown += [framed(picture, GREEN if correct else RED, HEIGHT) for picture, correct in found]
        precision = 100 * float(galleries["average_precision"][one])
        rows.append(labeled(row(shown), f"{kind} query (average precision {precision:.0f} %) and the first ten found"))
    width = max(r.width for r in rows)
    sheet = Image.new("RGB", (width, sum(r.height + GAP for r in rows)), PAPER)
    top = 0
    for one_row in rows:
        sheet.paste(one_row, (0, top))
        top += one_row.height + GAP
    sheet.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
