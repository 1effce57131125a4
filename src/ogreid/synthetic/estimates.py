"""What a body estimator would say about each crop: the bare body, with errors of pose, shape, place and scale.

Hair, skirts and props are in the images only, as with HMR on real crops: the paper's own limitation.
One file ``bodies.npz`` per folder of crops holds the parameters; meshes are made on access.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ogreid import files
from ogreid.errors import InputError
from ogreid.lifting import Mesh, WeakCamera
from ogreid.synthetic.body import Array, load_body, rotation, rotation_vector
from ogreid.synthetic.crops import HEIGHT, WIDTH, Detection

__all__ = ["FILE", "Estimate", "Estimates", "estimate", "read_estimates", "write_estimates"]

FILE = "bodies.npz"
FORMAT = 1

# Standard deviations, radians: what single-image estimators reach on small crops, roughly.
JOINT_ERROR = 0.06
TURN_ERROR = (0.03, 0.12, 0.03)
TURNED_ROUND = 0.02  # share of crops in which front and back are confused


@dataclass(frozen=True)
class Estimate:
    """Parameters of an estimated body."""

    shape: Array  # (S,) scores
    pose: Array  # (J, 3) rotations, the pelvis's in the axes of the camera
    camera: Array  # (s, tx, ty) of HMR: box coordinates u = s * (X + t) in [-1, 1] over the square box

    def mesh(self) -> Mesh:
        """The bare body as an estimator would hand it over."""
        body = load_body()
        scale, across, down = (float(value) for value in self.camera)
        camera = WeakCamera(scale, (across, down), order="s(x+t)")
        return Mesh(body.posed(self.shape, self.pose), body.faces["body"], camera)


def estimate(detection: Detection, shape: Array, rng: np.random.Generator) -> Estimate:
    """Estimate the body of a detection the way an estimator does: near the mean shape, a little off everywhere."""
    estimated = np.asarray(0.6 * shape + rng.normal(0, 0.3, shape.shape), dtype=np.float32)
    pose = np.asarray(detection.pose + rng.normal(0, JOINT_ERROR, detection.pose.shape), dtype=np.float32)
    turn = rotation(np.asarray(rng.normal(0, TURN_ERROR), dtype=np.float32))
    if rng.uniform() < TURNED_ROUND:
        turn = turn @ rotation(np.array([0, np.pi, 0], dtype=np.float32))
    pose[0] = rotation_vector(turn @ rotation(detection.pose[0]))
    return Estimate(estimated, pose, _noisy_camera(load_body().posed(estimated, pose), detection.pixels, rng))


def _noisy_camera(vertices: Array, pixels: Array, rng: np.random.Generator) -> Array:
    """The weak camera that fits vertices (V, 3) to pixels (V, 2) best, with an error of about two pixels."""
    side = max(HEIGHT, WIDTH)
    unit = (pixels + np.array([side - WIDTH, side - HEIGHT]) / 2) / side * 2 - 1
    body = load_body()
    trunk = body.weight_joints[: body.skin_count, 0] <= body.joint("chest")
    across, tall = unit[:, 0], unit[:, 1]
    # Height and trunk fix the camera: they survive a confusion of front and back, which a full fit would not.
    scale = np.ptp(tall) / np.ptp(vertices[:, 1]) * np.exp(rng.normal(0, 0.015))
    sideways = across[trunk].mean() / scale - vertices[trunk, 0].mean()
    down = (tall.min() + tall.max()) / 2 / scale - (vertices[:, 1].min() + vertices[:, 1].max()) / 2
    return np.array([scale, *(np.array([sideways, down]) + rng.normal(0, 0.012, 2))], dtype=np.float32)


class Estimates(Mapping[str, Mesh]):
    """Estimated bodies by the path of their crop relative to the folder; each mesh is made on access."""

    def __init__(self, bodies: Mapping[str, Estimate]) -> None:
        self._bodies = bodies

    def __getitem__(self, name: str) -> Mesh:
        return self._bodies[name].mesh()

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)


def write_estimates(root: Path, entries: Sequence[tuple[str, Estimate]]) -> None:
    """Write ``bodies.npz`` of a folder, in the order given; byte for byte the same for the same entries."""
    np.savez(
        root / FILE,
        format=np.array(FORMAT),
        names=np.array([name for name, _ in entries]),
        shapes=np.stack([body.shape for _, body in entries]),
        poses=np.stack([body.pose for _, body in entries]),
        cameras=np.stack([body.camera for _, body in entries]),
    )


def read_estimates(root: str | Path) -> Estimates:
    """The estimated bodies of a folder of synthetic crops.

    Raises:
        InputError: no such file, or one of another format.
    """
    path = Path(root) / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; every folder of synthetic crops holds one, make the crops again")
    try:
        stored = files.read_arrays(path)
        version = int(stored["format"])
        columns = [stored[name] for name in ("names", "shapes", "poses", "cameras") if version == FORMAT]
        bodies = {str(name): Estimate(*values) for name, *values in zip(*columns, strict=True)}
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a file of estimated bodies ({error}); make the crops again") from error
    if version != FORMAT:
        raise InputError(f"{path}: format {version}, this version reads {FORMAT}; make the crops again")
    return Estimates(bodies)
