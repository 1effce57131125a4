"""How well bodies are fitted: ``python scripts/bodies_measured.py --pose-model FILE [--crops DIR] [--number N]``.

On a sample of the crops in a folder, of which no truth is known, or of synthetic crops, of which it is. Prints one line
of JSON with what docs/data/estimated-bodies.md says.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps

from ogreid.config import command_line
from ogreid.data.datasets.fitted_bodies import Estimate, estimate_crop
from ogreid.data.datasets.layouts import images_in
from ogreid.lifting import upright_template
from ogreid.lifting.fitting import OUTCOMES, Acceptance, BodyFitter, Fit, intersection_over_union, silhouette
from ogreid.lifting.landmarks import COCO, LandmarkSource, PoseNetwork
from ogreid.synthetic.body import load_body, rotation
from ogreid.synthetic.domains import DOMAINS, detection_of, person_of

SIZE = (128, 64)
BODY = load_body()
FITTER = BodyFitter(BODY)


@dataclass(frozen=True)
class Variant:
    """Another use of the network: its first pass only, of the mirrored crop, or COCO's points without space."""

    network: PoseNetwork
    mirrored: bool = False
    coco: bool = False

    def __call__(self, source: str, image: Image.Image):
        (one, *_) = self.network(source, ImageOps.mirror(image) if self.mirrored else image)
        if self.coco:
            scores = np.zeros_like(one.scores)
            scores[COCO] = one.scores[COCO]
            one = replace(one, scores=scores, world=None)
        yield one


def estimates(names: list[str], root: Path, landmarks: LandmarkSource) -> list[Estimate]:
    return [estimate_crop(name, root, landmarks, Acceptance()) for name in names]


def overlaps(fitted: list[Estimate]) -> dict[str, float]:
    """Of accepted silhouettes with the mask, and of the upright body's with the same masks."""
    upright, pairs = silhouette(upright_template(), *SIZE), []
    for one in fitted:
        mask = np.unpackbits(one.mask).reshape(SIZE).astype(bool)
        if one.outcome == 0 and mask.any():
            mesh = FITTER.mesh(Fit(one.pose, one.shape, one.camera, 0), *one.size.tolist())
            pairs.append([intersection_over_union(each, mask) for each in (silhouette(mesh, *SIZE), upright)])
    ours, template = np.transpose(pairs)
    spread = {"mean": ours.mean(), "median": np.median(ours), "p10": np.quantile(ours, 0.1)}
    return {f"IoU {name}": value for name, value in spread.items()} | {"IoU upright": template.mean()}


def turns(poses: list[np.ndarray], references: list[np.ndarray], side: int = 1) -> np.ndarray:
    """Degrees between the fronts of pelvises seen from above; ``side`` -1 mirrors the references."""
    fronts = [[rotation(one[0]) @ [0, 0, -1.0] for one in both] for both in zip(poses, references, strict=True)]
    angles = [np.arctan2(a[0], a[2]) - np.arctan2(side * b[0], b[2]) for a, b in fronts]
    return np.abs((np.degrees(angles) + 180) % 360 - 180)


def measure(names: list[str], root: Path, network: PoseNetwork) -> tuple[dict[str, float], list[Estimate]]:
    estimates(names[:1], root, network)  # compiles
    started = time.thread_time()
    fitted = estimates(names, root, network)
    result: dict[str, float] = {"ms a crop": (time.thread_time() - started) / len(names) * 1e3}
    counts = Counter(OUTCOMES[one.outcome] for one in fitted)
    result |= {outcome: counts[outcome] / len(names) for outcome in OUTCOMES} | overlaps(fitted)
    first, mirrored, coco = (
        estimates(names, root, Variant(network, **how)) for how in ({}, {"mirrored": True}, {"coco": True})
    )
    result["fitted in one pass"] = float(np.mean([one.outcome == 0 for one in first]))
    result["fitted to COCO points"] = float(np.mean([one.outcome == 0 for one in coco]))
    both = [(a.pose, b.pose) for a, b in zip(first, mirrored, strict=True) if a.outcome == b.outcome == 0]
    angles = turns(*map(list, zip(*both, strict=True)), side=-1)
    result |= {"mirror turns by": np.median(angles), "mirror turns by over 90": np.mean(angles > 90)}
    return result, fitted


def synthetic(number: int, network: PoseNetwork) -> dict[str, float]:
    """The same of synthetic crops, and errors against the truth, of accepted fits."""
    with TemporaryDirectory() as folder:
        names, poses, shapes = [], [], []
        for one in range(number):
            domain = list(DOMAINS.values())[one % len(DOMAINS)]
            person = person_of(domain, 7, one)
            detection = detection_of(domain, 7, 1 + one // len(DOMAINS) % 2, person, one)
            names.append(f"{one:05d}.png")
            Image.fromarray(detection.crop).save(Path(folder) / names[-1])
            poses.append(detection.pose)
            shapes.append(person.attributes.shape)
        result, fitted = measure(names, Path(folder), network)
    accepted = [(e, p, s) for e, p, s in zip(fitted, poses, shapes, strict=True) if e.outcome == 0]
    angles = turns([e.pose for e, _, _ in accepted], [p for _, p, _ in accepted])
    pairs = [(BODY.posed(e.shape, e.pose), BODY.posed(s, p)) for e, p, s in accepted]
    centered = [np.linalg.norm((a - a.mean(axis=0)) - (b - b.mean(axis=0)), axis=1).mean() for a, b in pairs]
    result |= {"turned by": np.median(angles), "turned by over 60": np.mean(angles > 60)}
    return result | {"turned by over 90": np.mean(angles > 90), "vertices off, m": np.mean(centered)}


def main(argv: list[str] | None = None) -> int:
    parser = command_line.Parser(prog="python scripts/bodies_measured.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pose-model", type=Path, required=True, metavar="FILE")
    parser.add_argument("--crops", type=Path, metavar="DIR", help="default: synthetic ones")
    parser.add_argument("--prefix", default="", help="only crops whose names begin so")
    parser.add_argument("--number", type=int, default=200, help="of crops (%(default)s)")
    arguments = parser.parse_args(argv)
    network = PoseNetwork(arguments.pose_model)
    _ = network.settings
    if arguments.crops is None:
        result = synthetic(arguments.number, network)
    else:
        names = [path.name for path in images_in(arguments.crops) if path.name.startswith(arguments.prefix)]
        drawn = np.random.default_rng(0).permutation(len(names))[: arguments.number]
        result = measure([names[one] for one in sorted(drawn)], arguments.crops, network)[0]
    sys.stdout.write(json.dumps({name: round(float(value), 4) for name, value in result.items()}) + "\n")
    return 0


if __name__ == "__main__":
    command_line.run(main)
