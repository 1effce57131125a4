"""Draw docs/pictures/bodies.png: synthetic crops, their landmarks, the fitted bodies, the clouds from three sides.

python scripts/bodies_picture.py FILE-OF-THE-LANDMARK-NETWORK [docs/pictures/bodies.png]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ogreid.lifting import lift_surface
from ogreid.lifting.fitting import BodyFitter
from ogreid.lifting.landmarks import PoseNetwork
from ogreid.synthetic.body import load_body
from ogreid.synthetic.domains import DOMAINS, detection_of, person_of
from pipeline_picture import GAP, PAPER, labeled, side_by_side, view

SIDE = 288
VIEWS = {"its cloud": 0, "turned by 60 degrees": 60, "turned by -60 degrees": -60}
BONES = [(11, 12), (23, 24), (11, 23), (12, 24), (11, 13), (13, 15), (12, 14), (14, 16)]
BONES += [(23, 25), (25, 27), (24, 26), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32)]
LEFT, RIGHT = (230, 120, 20), (30, 110, 220)


def enlarged(crop: np.ndarray) -> Image.Image:
    return Image.fromarray(crop).resize((SIDE * crop.shape[1] // crop.shape[0], SIDE), Image.LANCZOS)


def with_landmarks(crop: np.ndarray, points: np.ndarray, numbers: list[int]) -> Image.Image:
    """The crop with bones between the points (33, 2) and a dot on those of ``numbers``; left orange, right blue."""
    image, places = enlarged(crop), (points + 0.5) * SIDE / crop.shape[0]
    draw = ImageDraw.Draw(image)
    for a, b in BONES:
        draw.line([*places[a], *places[b]], fill=LEFT if a % 2 and b % 2 else RIGHT, width=3)
    for number in numbers:
        x, y = places[number]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=LEFT if number % 2 else RIGHT)
    return image


def main(network: str, target: str = "docs/pictures/bodies.png") -> None:
    locate, fitter, rows = PoseNetwork(Path(network)), BodyFitter(load_body()), []
    for number, domain in enumerate(list(DOMAINS.values())[:3]):
        crop = detection_of(domain, 3, 1, person_of(domain, 3, number), number).crop
        landmarks = next(locate("", Image.fromarray(crop)))
        fit = fitter.fit(landmarks, *crop.shape[:2])
        assert fit is not None
        mesh = fitter.mesh(fit, *crop.shape[:2])
        lifted = lift_surface(crop, mesh)
        body = lifted.points[lifted.foreground]
        tinted = crop.reshape(-1, 3) * 0.35 + 0.65 * np.array(PAPER)
        tinted[lifted.foreground] = crop.reshape(-1, 3)[lifted.foreground]
        images = {
            "a crop": enlarged(crop),
            "its landmarks": with_landmarks(crop, landmarks.points, fitter.numbers),
            "on the body": enlarged(tinted.reshape(crop.shape).astype(np.uint8)),
        }
        images |= {name: view(body[:, :3], body[:, 3:], degrees, SIDE) for name, degrees in VIEWS.items()}
        rows.append(side_by_side([labeled(image, name if not rows else "") for name, image in images.items()]))
    sheet = Image.new("RGB", (rows[0].width, sum(row.height + GAP for row in rows)), PAPER)
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * (row.height + GAP)))
    sheet.quantize(192).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
