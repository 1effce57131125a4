"""People whose landmarks are known exactly: the shipped body in mid-step before a weak camera."""

import json
from typing import NamedTuple

import numpy as np
from PIL import Image

from ogreid.lifting import Mesh, WeakCamera
from ogreid.lifting.fitting import JOINTS, BodyFitter, _surface_points
from ogreid.lifting.landmarks import COUNT, Landmarks
from ogreid.synthetic.body import draw_gait, draw_pose, load_body, rotation, rotation_vector

BODY = load_body()
FITTER = BodyFitter(BODY)
SIZE = (128, 64)


class Person(NamedTuple):
    shape: np.ndarray
    pose: np.ndarray
    mesh: Mesh
    joints: np.ndarray
    landmarks: Landmarks


def draw_person(seed, *, heading=None, pixels=0.0, meters=0.0, size=SIZE):
    """A walking person with landmarks in the image and in space, off by noise of these standard deviations."""
    rng = np.random.default_rng(seed)
    shape = np.zeros(len(BODY.components), np.float32)
    shape[:6] = rng.normal(0, 0.7, 6)
    pose = draw_pose(BODY, draw_gait(rng, 0), rng, standing=False)
    angle = rng.uniform(-np.pi, np.pi) if heading is None else heading
    pose[0] = rotation_vector(rotation(np.array([0, angle, 0], np.float32)) @ rotation(pose[0]))
    camera = WeakCamera(float(rng.uniform(0.9, 1.0)), (float(rng.uniform(-0.05, 0.05)), 0.1))
    vertices, joints = BODY.rest(shape)
    posed = BODY.skin(vertices[: BODY.skin_count], joints, pose)
    mesh = Mesh(posed.vertices, BODY.faces["body"], camera)
    world = np.zeros((COUNT, 3))
    for number, name in JOINTS.items():
        for k, side in enumerate("LR"):
            world[number + k] = posed.joints[BODY.joint(f"{name}.{side}")]
    for number, (vertex, _) in zip((0, 7, 29, 31, 8, 30, 32), _by_side(), strict=True):
        world[number] = posed.vertices[vertex]
    points = camera.pixels(world, *size) + rng.normal(0, pixels, (COUNT, 2))
    scores = np.zeros(COUNT)
    scores[FITTER.numbers] = 0.95
    world = world + rng.normal(0, meters, (COUNT, 3)) + [0.3, -0.2, 0.5]  # from any origin
    return Person(shape, pose, mesh, posed.joints, Landmarks(points, scores, 0.9, world))


def _by_side():
    points = _surface_points(BODY)
    return [points[name] for name in ("nose", "ear.L", "heel.L", "tip.L", "ear.R", "heel.R", "tip.R")]


def write_people(crops, landmarks, *, identities=3, cameras=2, size=SIZE):
    """Crops named ``ID_cCAMERA_0.png`` with the landmarks of each in a JSON file of the same name; their names."""
    crops.mkdir(parents=True, exist_ok=True)
    landmarks.mkdir(parents=True, exist_ok=True)
    names = [f"{one:04d}_c{camera}_0.png" for one in range(1, identities + 1) for camera in range(1, cameras + 1)]
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(crops / name)
        person = draw_person(seed, size=size).landmarks
        points = np.column_stack([person.points, person.scores]).tolist()
        content = {"points": points, "world": person.world.tolist(), "presence": 0.9}
        (landmarks / name).with_suffix(".json").write_text(json.dumps(content))
    return names
