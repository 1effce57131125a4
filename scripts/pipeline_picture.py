"""Draw the README's picture from a finished demo: a crop, its cloud from three sides, three ranked galleries.

python scripts/pipeline_picture.py runs/demo/<stamp>-<seed> [docs/pictures/pipeline.png]
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ogreid.config import data_root
from ogreid.data import Store
from ogreid.runs import Run

HEIGHT, GAP = 176, 10
GREEN, RED, INK, PAPER = (22, 140, 70), (200, 50, 50), (40, 44, 50), (255, 255, 255)
VIEWS = {"its cloud": 0, "turned by 25 degrees": 25, "turned by -50 degrees": -50}


def view(xyz: np.ndarray, rgb: np.ndarray, degrees: float, size: int) -> Image.Image:
    """A cloud (P, 3) after a turn about its vertical axis, as an image of ``size`` rows and 3/4 as many columns."""
    angle = np.radians(degrees)
    centered = xyz - xyz.mean(axis=0)
    x = np.cos(angle) * centered[:, 0] + np.sin(angle) * centered[:, 2]
    depth = np.cos(angle) * centered[:, 2] - np.sin(angle) * centered[:, 0]
    scale = 0.94 * size / np.ptp(centered[:, 1])
    width = size * 3 // 4
    column = np.rint(x * scale + width / 2).astype(int)
    row = np.rint((centered[:, 1] - centered[:, 1].min()) * scale + 0.03 * size).astype(int)
    image = np.full((size, width, 3), 255, np.uint8)
    for point in np.argsort(-depth, kind="stable"):  # far first; three pixels wide, so that a surface looks closed
        r, c = row[point], column[point]
        if 0 <= r < size and 0 <= c < width:
            image[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2] = np.rint(rgb[point] * 255)
    return Image.fromarray(image)


def framed(image: np.ndarray, color: tuple[int, int, int], height: int) -> Image.Image:
    frame = Image.fromarray(image).resize((image.shape[1] * height // image.shape[0], height), Image.LANCZOS)
    ImageDraw.Draw(frame).rectangle((0, 0, frame.width - 1, frame.height - 1), outline=color, width=3)
    return frame


def side_by_side(images: list[Image.Image]) -> Image.Image:
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in images)), PAPER)
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    return sheet


def labeled(image: Image.Image, text: str) -> Image.Image:
    sheet = Image.new("RGB", (image.width, image.height + 20), PAPER)
    sheet.paste(image, (0, 20))
    ImageDraw.Draw(sheet).text((0, 3), text, fill=INK, font=ImageFont.load_default(14))
    return sheet


def main(folder: str, target: str = "docs/pictures/pipeline.png") -> None:
    run = Run.open(folder)
    data = run.experiment().data
    name = data.test[0]
    galleries = np.load(run.pictures / f"{name}-galleries.npz", allow_pickle=False)
    store = Store.open(data_root(data.root) / name)
    kinds = galleries["kind"].tolist()
    best = kinds.index("best")
    source = str(galleries["query_name"][best])
    xyz, rgb = store.clouds(np.flatnonzero(store.rows["source"] == source)[:1])

    crop = labeled(framed(galleries["query"][best], INK, 2 * HEIGHT), "a crop")
    views = [labeled(view(xyz[0], rgb[0], angle, 2 * HEIGHT), text) for text, angle in VIEWS.items()]
    rows = [side_by_side([crop, *views])]
    for kind in ("best", "median", "worst"):
        number = kinds.index(kind)
        ranked = zip(galleries["gallery"][number], galleries["correct"][number], strict=True)
        images = [framed(galleries["query"][number], INK, HEIGHT)]
        images += [framed(image, GREEN if correct else RED, HEIGHT) for image, correct in ranked]
        precision = 100 * float(galleries["average_precision"][number])
        label = f"{kind} query (average precision {precision:.0f} %) and the first ten of its ranked gallery"
        rows.append(labeled(side_by_side(images), label))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height + GAP for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    sheet.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
