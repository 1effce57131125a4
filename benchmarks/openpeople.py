"""Retrieval on photo-like images of people who do not exist, from the Python package ``openpeople`` (MIT).

pip install openpeople                            # version 0.1.2, into this environment or another
python benchmarks/openpeople.py --crops crops     # only cut the full-body views
python benchmarks/openpeople.py --checkpoint RUN  # cut, pack with the upright body, evaluate it and the histogram

Ten artificial people in six full-body views each, which serve as six cameras: outdoors, in a studio, and from four
sides. Indoors all of them wear the same white shirt and shorts, so color separates them only outdoors.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PHOTOGRAPHS = {1: "amateur_posture.jpg", 2: "studio_posture.jpg"}
SHEET = "character_sheet.jpg"
PANELS = {3: 0.129, 4: 0.377, 5: 0.624, 6: 0.871}  # camera: middle of its panel, in widths of the sheet
PANEL_ROWS = (0.496, 0.906)  # heights of the sheet
SIZE = (128, 256)


def find_people(folder):
    """The package's own folder of people."""
    if folder is None:
        package = importlib.util.find_spec("openpeople")
        if package is None or package.origin is None:
            sys.exit("openpeople is not installed here: pip install openpeople, or give --people FOLDER")
        folder = Path(package.origin).parent / "data" / "curated"
    people = sorted(path for path in folder.glob("P*") if (path / "assets" / SHEET).is_file())
    if not people:
        sys.exit(f"{folder}: no people with a {SHEET}; give the folder openpeople/data/curated")
    return people


def upright_box(middle, top, bottom):
    """A box twice as high as wide."""
    half = (bottom - top) / 4
    return tuple(round(edge) for edge in (middle - half, top, middle + half, bottom))


def cut(people, folder):
    """Write ``ID_cCAMERA_0.png`` crops."""
    folder.mkdir(parents=True, exist_ok=True)
    for identity, person in enumerate(people, start=1):
        views = {}
        for camera, name in PHOTOGRAPHS.items():
            photo = Image.open(person / "assets" / name).convert("RGB")
            views[camera] = photo.crop(upright_box(photo.width / 2, 0.02 * photo.height, 0.99 * photo.height))
        sheet = Image.open(person / "assets" / SHEET).convert("RGB")
        for camera, middle in PANELS.items():
            rows = (edge * sheet.height for edge in PANEL_ROWS)
            views[camera] = sheet.crop(upright_box(middle * sheet.width, *rows))
        for camera, view in views.items():
            view.resize(SIZE, Image.Resampling.LANCZOS).save(folder / f"{identity:04d}_c{camera}_0.png")


def command(name, *arguments):
    subprocess.run([sys.executable, "-m", f"ogreid.{name}", *map(str, arguments)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, help="openpeople/data/curated, where the package is not installed here")
    parser.add_argument("--crops", type=Path, help="only cut the crops, into this folder")
    parser.add_argument("--checkpoint", help="a run to evaluate beside the histogram")
    options = parser.parse_args()
    people = find_people(options.people)
    if options.crops is not None:
        cut(people, options.crops)
        return
    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder) / "crops"
        cut(people, crops)
        command("pack", "openpeople", "--images", crops, "--data", folder)
        command("evaluate", "--model", "histogram", "--on", "openpeople", "--data", folder)
        if options.checkpoint is not None:
            command("evaluate", "--checkpoint", options.checkpoint, "--on", "openpeople", "--data", folder)


if __name__ == "__main__":
    main()
