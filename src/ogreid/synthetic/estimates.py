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
from ogreid.synthetic.detections import HEIGHT, WIDTH, Detection

FILE = "bodies.npz"
FORMAT = 1


@dataclass(frozen=True)
class Noise:
    """How wrong an estimator is; angles in radians.

    An estimator fits the image, so that most of its error lies in depth, which the image does not show: of several
    random candidates the pose is taken whose joints lie closest to the true ones in the image.
    """

    joint: float  # standard deviation of each component of a joint's rotation vector
    turn: tuple[float, float, float]  # standard deviations of the whole body's, about the axes of the camera
    turned: float  # share of crops with a body that is turned away, as where front and back are confused
    turned_from: float = np.pi  # least angle of these, the greatest is a half turn
    candidates: int = 1
    shape: tuple[float, float] = (0.6, 0.3)  # factor of the true scores, standard deviation of what is added
    camera: tuple[float, float] = (0.015, 0.012)  # standard deviations of the scale's logarithm and of the place


NOISE = {
    "exact": Noise(joint=0, turn=(0, 0, 0), turned=0, shape=(1, 0), camera=(0, 0)),
    "mild": Noise(joint=0.06, turn=(0.03, 0.12, 0.03), turned=0.02),
    # Measured of a body fitted to the landmarks of a small network: the pelvis is off by 17 degrees (median), on 5.6 %
    # of the crops by more than 60, vertices by 0.15 m on average, and by 0.09 m after Procrustes alignment.
    "noisy": Noise(joint=0.175, turn=(0.2, 0.68, 0.17), turned=0.09, turned_from=1.73, candidates=64),
}


@dataclass(frozen=True)
class Estimate:
    """Parameters of an estimated body."""

    shape: Array  # (S,) scores
    pose: Array  # (J, 3) rotations, the pelvis's in the axes of the camera
    camera: Array  # (s, tx, ty) of HMR: box coordinates u = s * (X + t) in [-1, 1] over the square box

    def mesh(self) -> Mesh:
        """The bare body as an estimator would hand it over."""
        body, (scale, across, down) = load_body(), self.camera.tolist()
        camera = WeakCamera(scale, (across, down), order="s(x+t)")
        return Mesh(body.posed(self.shape, self.pose), body.faces["body"], camera)


def estimate(detection: Detection, shape: Array, rng: np.random.Generator, noise: Noise) -> Estimate:
    """Estimate the body of a detection of true ``shape`` (S,) as estimators do: near the mean shape, a little off."""
    factor, spread = noise.shape
    estimated = np.asarray(factor * shape + rng.normal(0, spread, shape.shape), dtype=np.float32)
    errors = rng.normal(0, noise.joint, (noise.candidates, *detection.pose.shape))
    poses = np.asarray(detection.pose + errors, dtype=np.float32)
    turns = rotation(np.asarray(rng.normal(0, noise.turn, (noise.candidates, 3)), dtype=np.float32))
    if (draw := rng.uniform()) < noise.turned:
        angle = np.pi - draw / noise.turned * (np.pi - noise.turned_from)
        turns = turns @ rotation(np.array([0, angle, 0], dtype=np.float32))
    poses[:, 0] = [rotation_vector(turn) for turn in turns @ rotation(detection.pose[0])]
    pose = poses[0] if len(poses) == 1 else _closest(poses, estimated, detection.pose, shape)
    return Estimate(estimated, pose, _camera(load_body().posed(estimated, pose), detection.pixels, rng, noise))


def _closest(poses: Array, estimated: Array, pose: Array, shape: Array) -> Array:
    """The one of poses (K, J, 3) of an estimated shape whose joints lie closest in the image to those of the truth."""
    body = load_body()
    rest, truth = body.rest(estimated)[1], body.move_joints(body.rest(shape)[1], pose)[0]
    offsets = np.stack([(body.move_joints(rest, candidate)[0] - truth)[:, :2] for candidate in poses])
    return np.asarray(poses[np.argmin(offsets.var(axis=1).sum(axis=1))])


def _camera(vertices: Array, pixels: Array, rng: np.random.Generator, noise: Noise) -> Array:
    """The weak camera that fits vertices (V, 3) to pixels (V, 2) best, with the noise's error: of about two pixels."""
    side = max(HEIGHT, WIDTH)
    unit = (pixels + np.array([side - WIDTH, side - HEIGHT]) / 2) / side * 2 - 1
    body = load_body()
    trunk = body.weight_joints[: body.skin_count, 0] <= body.joint("chest")
    across, tall = unit[:, 0], unit[:, 1]
    # Height and trunk fix the camera: they survive a confusion of front and back, which a full fit would not.
    scale = np.ptp(tall) / np.ptp(vertices[:, 1]) * np.exp(rng.normal(0, noise.camera[0]))
    sideways = across[trunk].mean() / scale - vertices[trunk, 0].mean()
    down = (tall.min() + tall.max()) / 2 / scale - (vertices[:, 1].min() + vertices[:, 1].max()) / 2
    return np.array([scale, *(np.array([sideways, down]) + rng.normal(0, noise.camera[1], 2))], dtype=np.float32)


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
    rows = [(name, body.shape, body.pose, body.camera) for name, body in entries]
    names, shapes, poses, cameras = (np.array(column) for column in zip(*rows, strict=True))
    np.savez(root / FILE, format=np.array(FORMAT), names=names, shapes=shapes, poses=poses, cameras=cameras)


def read_estimates(root: str | Path) -> Estimates:
    """The estimated bodies of a folder of synthetic crops; an InputError without such a file, or of another format."""
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
