"""What is drawn: persons, paint, cameras, and the estimates against the truth."""

import dataclasses

import numpy as np
import pytest

from ogreid.lifting.raster import visible_faces
from ogreid.synthetic.attributes import STYLES, draw_attributes
from ogreid.synthetic.body import load_body, rotation
from ogreid.synthetic.clothing import dress
from ogreid.synthetic.detections import HEIGHT, WIDTH
from ogreid.synthetic.domains import DOMAINS, detection_of, person_of
from ogreid.synthetic.estimates import NOISE, estimate
from ogreid.synthetic.render import Cloth, Light, Part, Surface, Trait, paint, render_person

BODY, PLAZA = load_body(), DOMAINS["plaza"]
ATTRIBUTES = draw_attributes(BODY, STYLES["summer"], np.random.default_rng(0))


def detection(number, camera=0, stream=0):
    return detection_of(PLAZA, 0, 1 + camera, person_of(PLAZA, 0, number), 0, number, stream)


def painted(cloths, traits, part, point):
    out = np.zeros(3, dtype=np.float32)
    paint(int(Surface.BODY), int(part), np.array(point, dtype=np.float32), cloths, traits, out)
    return out[0]


@pytest.fixture
def plain():
    """Cloths in as many plain colors, long sleeves and trousers, no outer garment."""
    cloths, traits = np.zeros((len(Cloth), 10), dtype=np.float32), np.zeros(len(Trait), dtype=np.float32)
    cloths[:, 0] = np.arange(1, len(Cloth) + 1) / len(Cloth)
    lengths = [Trait.SLEEVE, Trait.TOP_HEM, Trait.WAIST, Trait.NECKLINE, Trait.LEG_HEM, Trait.SHOE_TOP, Trait.HAIRLINE]
    traits[lengths] = 0.9, 0.05, -0.11, 0.06, 0.8, 0.83, -0.75
    return cloths, traits


@pytest.mark.parametrize(
    ("part", "point", "row"),
    [
        (Part.TORSO, (0.1, -0.25, -0.1, 0), Cloth.TOP),
        (Part.ARM, (0.3, -0.3, 0, 0.8), Cloth.TOP),
        (Part.ARM, (0.3, -0.3, 0, 0.95), Cloth.SKIN),
        (Part.HAND, (0.5, -0.1, -0.2, 1.1), Cloth.SKIN),
        (Part.LEG, (0.1, 0.4, -0.1, 0), Cloth.BOTTOM),
        (Part.FOOT, (0.1, 0.87, -0.1, 0), Cloth.SHOES),
        (Part.HEAD, (0, -0.79, 0, 0), Cloth.CROWN),
        (Part.HEAD, (0.02, -0.67, -0.13, 0), Cloth.SKIN),
    ],
)
def test_every_part_wears_its_cloth(plain, part, point, row):
    assert painted(*plain, part, point) == pytest.approx(plain[0][row, 0], rel=1e-3)


def test_persons_and_crops_are_reproducible_and_differ():
    first, again, other = (person_of(PLAZA, 0, number) for number in (5, 5, 6))
    assert np.array_equal(first.rest, again.rest) and np.array_equal(first.faces, again.faces)
    assert not np.array_equal(first.attributes.cloths, other.attributes.cloths)
    assert np.array_equal(detection(1).crop, detection(1).crop)
    assert not np.array_equal(detection(1).crop, detection(1, stream=1).crop)


def test_a_crop_is_filled_by_its_person():
    covers = [detection(number, camera).cover for number in range(6) for camera in range(3)]
    shares = [float(cover.mean()) for cover in covers]
    assert min(shares) > 0.15 and max(shares) < 0.75
    assert min(float(cover.max()) for cover in covers) == pytest.approx(1, abs=1e-4)


def test_the_estimated_body_lies_on_the_drawn_one():
    overlaps = []
    for number in range(12):
        truth = detection(number, number % 6)
        shape = person_of(PLAZA, 0, number).attributes.shape
        mesh = estimate(truth, shape, np.random.default_rng(number), NOISE["mild"]).mesh()
        pixels = mesh.camera.pixels(mesh.vertices, HEIGHT, WIDTH).astype(np.float64)
        owner, _ = visible_faces(pixels, np.zeros(len(pixels)), mesh.faces, HEIGHT, WIDTH)
        estimated, drawn = owner.reshape(HEIGHT, WIDTH) >= 0, truth.cover > 0.5
        overlaps.append((estimated & drawn).sum() / (estimated | drawn).sum())
    assert np.median(overlaps) > 0.55 and min(overlaps) > 0.3


def procrustes_error(points, truth):
    """Mean distance after the similarity transform that brings the points closest to the truth."""
    points, truth = points - points.mean(axis=0), truth - truth.mean(axis=0)
    u, values, v = np.linalg.svd(points.T @ truth)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    scale = (values * signs).sum() / (points**2).sum()
    return np.linalg.norm(scale * points @ (u * signs) @ v - truth, axis=1).mean()


@pytest.mark.parametrize(
    ("noise", "angle", "turned", "vertices", "aligned"),  # degrees, percent beyond 60 of them, meters, meters
    [
        ("exact", (0, 0.1), (0, 0), (0, 1e-4), (0, 1e-4)),
        ("mild", (5.4, 0.8), (2, 2), (0.08, 0.01), (0.04, 0.005)),
        ("noisy", (17, 2), (5.6, 3), (0.15, 0.015), (0.09, 0.01)),
    ],
)
def test_estimates_are_as_wrong_as_they_say(noise, angle, turned, vertices, aligned):
    truths = [(person_of(PLAZA, 0, number).attributes.shape, detection(number, number % 6)) for number in range(30)]
    errors = []
    for trial, (shape, truth) in enumerate(12 * truths):
        body = estimate(truth, shape, np.random.default_rng(trial), NOISE[noise])
        cosine = (np.trace(rotation(body.pose[0]) @ rotation(truth.pose[0]).T) - 1) / 2
        points, expected = BODY.posed(body.shape, body.pose), BODY.posed(shape, truth.pose)
        distance = np.linalg.norm(points - expected, axis=1).mean()
        errors.append((np.degrees(np.arccos(np.clip(cosine, -1, 1))), distance, procrustes_error(points, expected)))
    angles, distances, aligned_distances = np.transpose(errors)
    assert np.median(angles) == pytest.approx(angle[0], abs=angle[1])
    assert 100 * np.mean(angles > 60) == pytest.approx(turned[0], abs=turned[1])
    assert np.mean(distances) == pytest.approx(vertices[0], abs=vertices[1])
    assert np.mean(aligned_distances) == pytest.approx(aligned[0], abs=aligned[1])


def test_a_triangle_is_drawn_where_it_projects_and_the_nearer_one_wins():
    cloths = ATTRIBUTES.cloths.copy()
    cloths[:, 6] = 0
    cloths[Cloth.PROP, :3], cloths[Cloth.PROP_2, :3] = (1, 0, 0), (0, 1, 0)
    points = np.array([[0, 0, 5], [8, 0, 5], [0, 8, 5], [0, 0, 4], [4, 0, 4], [0, 4, 4]], dtype=np.float32)
    flat = dataclasses.replace(
        dress(dataclasses.replace(ATTRIBUTES, cloths=cloths)),
        faces=np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32),
        surface=np.array([Surface.PROP, Surface.PROP + 1], dtype=np.uint8),
        part=np.zeros(2, dtype=np.uint8),
        coordinates=np.zeros((6, 4), dtype=np.float32),
    )
    one, up = np.ones(3, dtype=np.float32), np.array([0, -1, 0], dtype=np.float32)
    image, cover = render_person(flat, points, points[:, :2].copy(), Light(up, 0 * one, one, one, up), 8, 8)
    assert image[1, 1].argmax() == 1  # green is nearer
    assert image[5, 1].argmax() == 0  # only red reaches here
    assert cover[7, 7] == 0
    assert cover.sum() == pytest.approx(32, abs=3)
