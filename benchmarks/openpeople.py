"""Real input without real people: retrieval on the photo-like pictures of the Python package ``openpeople`` (MIT).

pip install openpeople                                  # 0.1.2 was used; into this project's environment or another
python benchmarks/openpeople.py --crops crops           # cut the full-body views only, and look at them
python benchmarks/openpeople.py --checkpoint RUN        # cut, pack with the upright body, judge RUN and the histogram

Ten artificial people, each in six full-body views that stand for six cameras: outdoors, in a studio, and from four
sides. Indoors all of them wear the same white shirt and shorts, so that color says little, and low numbers are honest.
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
        found = importlib.util.find_spec("openpeople")
        if found is None or found.origin is None:
            sys.exit("openpeople is not installed here: pip install openpeople, or give --people FOLDER")
        folder = Path(found.origin).parent / "data" / "curated"
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
            picture = Image.open(person / "assets" / name).convert("RGB")
            views[camera] = picture.crop(upright_box(picture.width / 2, 0.02 * picture.height, 0.99 * picture.height))
        sheet = Image.open(person / "assets" / SHEET).convert("RGB")
        for camera, middle in PANELS.items():
            rows = (edge * sheet.height for edge in PANEL_ROWS)
            views[camera] = sheet.crop(upright_box(middle * sheet.width, *rows))
        for camera, view in views.items():
            view.resize(SIZE, Image.Resampling.LANCZOS).save(folder / f"{identity:04d}_c{camera}_0.png")


def door(name, *arguments):
    subprocess.run([sys.executable, "-m", f"ogreid.{name}", *map(str, arguments)], check=True)


def main():
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--people", type=Path, help="openpeople/data/curated, where the package is not installed here")
    asked.add_argument("--crops", type=Path, help="only cut the crops, into this folder")
    asked.add_argument("--checkpoint", help="a run to judge beside the histogram")
    asked = asked.parse_args()
    people = find_people(asked.people)
    if asked.crops is not None:
        cut(people, asked.crops)
        return
    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder) / "crops"
        cut(people, crops)
        door("pack", "openpeople", "--images", crops, "--data", folder)
        door("evaluate", "--model", "histogram", "--on", "openpeople", "--data", folder)
        if asked.checkpoint is not None:
            door("evaluate", "--checkpoint", asked.checkpoint, "--on", "openpeople", "--data", folder)


if __name__ == "__main__":
    main()
