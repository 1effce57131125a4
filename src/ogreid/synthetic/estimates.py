"""What a body estimator would say about each crop: the bare body, with errors of pose, shape, place and scale.

Hair, skirts and bags are in the pictures only, as with HMR on real crops: the paper's own limitation.
One file ``bodies.npz`` per tree holds the parameters; meshes are made when asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ogreid import files
from ogreid.errors import InputError
from ogreid.lifting import Mesh, WeakCamera
from ogreid.synthetic.body import Array, load_body, rotation, rotation_vector
from ogreid.synthetic.crops import HEIGHT, WIDTH, Sighting

__all__ = ["FILE", "Estimate", "Estimates", "estimate", "read_estimates", "write_estimates"]

FILE = "bodies.npz"
FORMAT = 1

# Standard deviations, radians: what single-picture estimators reach on small crops, roughly.
JOINT_ERROR = 0.06
TURN_ERROR = (0.03, 0.12, 0.03)
TURNED_ROUND = 0.02  # share of crops in which front and back are confused


@dataclass(frozen=True)
class Estimate:
    """Parameters of an estimated body.

    Attributes:
        shape: (S,) scores.
        pose: (J, 3) rotations, the pelvis's in the axes of the camera.
        camera: ``(s, tx, ty)`` of HMR: box coordinates ``u = s * (X + t)`` in [-1, 1] over the square box.
    """

    shape: Array
    pose: Array
    camera: Array

    def mesh(self) -> Mesh:
        """The bare body as an estimator would hand it over."""
        body = load_body()
        vertices = body.posed(self.shape, self.pose)
        scale, across, down = (float(value) for value in self.camera)
        return Mesh(vertices, body.faces["body"], WeakCamera(scale, (across, down), order="s(x+t)"))


def estimate(sighting: Sighting, shape: Array, rng: np.random.Generator) -> Estimate:
    """Guess a body from a sighting the way an estimator does: near the mean shape, a little off everywhere."""
    body = load_body()
    guessed = 0.6 * shape + rng.normal(0, 0.3, shape.shape)
    pose = sighting.pose + rng.normal(0, JOINT_ERROR, sighting.pose.shape)
    turn = rotation(np.asarray(rng.normal(0, TURN_ERROR), dtype=np.float32))
    if rng.uniform() < TURNED_ROUND:
        turn = turn @ rotation(np.array([0, np.pi, 0], dtype=np.float32))
    pose[0] = rotation_vector(turn @ rotation(sighting.pose[0]))
    guess = Estimate(guessed.astype(np.float32), pose.astype(np.float32), np.zeros(3, dtype=np.float32))
    vertices = body.posed(guess.shape, guess.pose)
    return Estimate(guess.shape, guess.pose, _noisy_camera(vertices, sighting.pixels, rng))


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
    """Estimated bodies by the path of their crop relative to the tree; each mesh is made when asked for."""

    def __init__(self, names: Sequence[str], shapes: Array, poses: Array, cameras: Array) -> None:
        self._rows = {name: row for row, name in enumerate(names)}
        self._shapes, self._poses, self._cameras = shapes, poses, cameras

    def __getitem__(self, name: str) -> Mesh:
        row = self._rows[name]
        return Estimate(self._shapes[row], self._poses[row], self._cameras[row]).mesh()

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def write_estimates(root: Path, entries: Sequence[tuple[str, Estimate]]) -> None:
    """Write ``bodies.npz`` of a tree, in the order given; byte for byte the same for the same entries."""
    names = np.array([name for name, _ in entries])
    np.savez(
        root / FILE,
        format=np.array(FORMAT),
        names=names,
        shapes=np.stack([entry.shape for _, entry in entries]),
        poses=np.stack([entry.pose for _, entry in entries]),
        cameras=np.stack([entry.camera for _, entry in entries]),
    )


def read_estimates(root: str | Path) -> Estimates:
    """The estimated bodies of a synthetic tree.

    Raises:
        InputError: no such file, or one of another format.
    """
    path = Path(root) / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; every synthetic tree holds one, make the tree again")
    try:
        stored = files.read_arrays(path)
        found = int(stored["format"])
        if found != FORMAT:
            raise InputError(f"{path}: format {found}, this version reads {FORMAT}; make the tree again")
        return Estimates([str(name) for name in stored["names"]], stored["shapes"], stored["poses"], stored["cameras"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a file of estimated bodies ({error}); make the tree again") from error
