"""What is drawn: figures, painting, cameras, and the estimates against the truth."""

import dataclasses

import numpy as np
import pytest

from ogreid.synthetic.body import load_body
from ogreid.synthetic.domains import DOMAINS, person, sight
from ogreid.synthetic.estimates import estimate
from ogreid.synthetic.clothing import dress
from ogreid.synthetic.paint import CLOTHS, NUMBERS, PATTERNS, Cloth, Part, Surface, paint
from ogreid.synthetic.photograph import draw_response, photograph
from ogreid.synthetic.render import Light, render_figure, silhouette
from ogreid.synthetic.scene import View, window
from ogreid.synthetic.crops import HEIGHT, WIDTH, Sighting
from ogreid.synthetic.things import solids_of
from ogreid.synthetic.attributes import STYLES, draw_wardrobe, linear

PLAZA = DOMAINS["plaza"]


def seen(number: int, camera: int = 0, stream: int = 0) -> Sighting:
    return sight(PLAZA, 0, 1 + camera, person(PLAZA, 0, number), 0, number, stream)


def painted(cloths: np.ndarray, numbers: np.ndarray, part: Part, point: tuple[float, ...]) -> np.ndarray:
    out = np.zeros(3, dtype=np.float32)
    paint(int(Surface.BODY), int(part), np.array(point, dtype=np.float32), cloths, numbers, out)
    return out


@pytest.fixture
def plain() -> tuple[np.ndarray, np.ndarray]:
    """Cloths in as many plain colors, long sleeves and trousers, no outer garment."""
    cloths = np.zeros((CLOTHS, 10), dtype=np.float32)
    cloths[:, 0] = np.arange(1, CLOTHS + 1) / CLOTHS
    numbers = np.zeros(len(NUMBERS), dtype=np.float32)
    for name, value in {"sleeve": 1, "top_hem": 0.05, "waist": -0.11, "neckline": 0.06, "leg_hem": 0.8}.items():
        numbers[NUMBERS[name]] = value
    numbers[NUMBERS["shoe_top"]], numbers[NUMBERS["hairline"]] = 0.83, -0.75
    return cloths, numbers


@pytest.mark.parametrize(
    ("part", "point", "row"),
    [
        (Part.TORSO, (0.1, -0.25, -0.1, 0), Cloth.TOP),
        (Part.ARM, (0.3, -0.3, 0, 0.5), Cloth.TOP),
        (Part.HAND, (0.5, -0.1, -0.2, 1.1), Cloth.SKIN),
        (Part.LEG, (0.1, 0.4, -0.1, 0), Cloth.BOTTOM),
        (Part.FOOT, (0.1, 0.87, -0.1, 0), Cloth.SHOES),
        (Part.HEAD, (0, -0.79, 0, 0), Cloth.CROWN),
        (Part.HEAD, (0.02, -0.67, -0.13, 0), Cloth.SKIN),
    ],
)
def test_every_part_wears_its_cloth(
    plain: tuple[np.ndarray, np.ndarray], part: Part, point: tuple[float, ...], row: Cloth
) -> None:
    cloths, numbers = plain
    assert painted(cloths, numbers, part, point)[0] == pytest.approx(cloths[row, 0], rel=1e-3)


def test_a_short_sleeve_bares_the_arm(plain: tuple[np.ndarray, np.ndarray]) -> None:
    cloths, numbers = plain
    numbers[NUMBERS["sleeve"]] = 0.3
    assert painted(cloths, numbers, Part.ARM, (0.3, -0.3, 0, 0.2))[0] == pytest.approx(cloths[Cloth.TOP, 0], rel=1e-3)
    assert painted(cloths, numbers, Part.ARM, (0.3, -0.3, 0, 0.5))[0] == pytest.approx(cloths[Cloth.SKIN, 0], rel=1e-3)


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern != "plain"])
def test_every_pattern_shows_both_colors(plain: tuple[np.ndarray, np.ndarray], pattern: str) -> None:
    cloths, numbers = plain
    cloths[:, :6] = (1, 1, 1, 0, 0, 0)
    cloths[:, 6:] = (PATTERNS.index(pattern), 0.1, -0.2, 1)
    body = load_body()
    skin = body.mean[: body.skin_count]
    torso = skin[(np.abs(skin[:, 0]) < 0.2) & (skin[:, 1] > -0.4) & (skin[:, 1] < 0)][::7]
    values = [painted(cloths, numbers, Part.TORSO, (*point, 0))[0] for point in torso]
    values += [painted(cloths, numbers, Part.ARM, (0.3, -0.3, 0, along))[0] for along in np.linspace(0.05, 0.9, 20)]
    assert min(values) < 0.2
    assert max(values) > 0.8


def test_a_person_wears_the_same_in_every_sighting() -> None:
    first, again = person(PLAZA, 0, 5).wardrobe, person(PLAZA, 0, 5).wardrobe
    assert np.array_equal(first.cloths, again.cloths)
    assert np.array_equal(first.shape, again.shape)
    assert first.things == again.things
    assert not np.array_equal(first.cloths, person(PLAZA, 0, 6).wardrobe.cloths)


def test_sightings_differ_and_repeat_themselves() -> None:
    assert np.array_equal(seen(1).crop, seen(1).crop)
    assert not np.array_equal(seen(1).crop, seen(1, stream=1).crop)


def test_a_crop_is_filled_by_its_person() -> None:
    covers = [seen(number, camera).cover for number in range(6) for camera in range(3)]
    shares = [float(cover.mean()) for cover in covers]
    assert min(shares) > 0.15
    assert max(shares) < 0.75
    assert min(float(cover.max()) for cover in covers) == pytest.approx(1, abs=1e-4)


def test_the_estimated_body_lies_on_the_drawn_one() -> None:
    overlaps = []
    for number in range(12):
        sighting = seen(number, number % 6)
        wardrobe = person(PLAZA, 0, number).wardrobe
        mesh = estimate(sighting, wardrobe.shape, np.random.default_rng(number)).mesh()
        assert mesh.faces is not None
        guessed = silhouette(mesh.camera.pixels(mesh.vertices, HEIGHT, WIDTH), mesh.faces, HEIGHT, WIDTH)
        drawn = sighting.cover > 0.5
        overlaps.append((guessed & drawn).sum() / (guessed | drawn).sum())
    assert np.median(overlaps) > 0.55
    assert min(overlaps) > 0.3


def test_estimates_are_wrong_by_a_little() -> None:
    sighting, shape = seen(0), person(PLAZA, 0, 0).wardrobe.shape
    one, other = (estimate(sighting, shape, np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.allclose(one.pose, other.pose, atol=0.01)
    assert np.abs(one.pose[1:] - sighting.pose[1:]).mean() < 0.2
    assert np.abs(one.camera[0] / other.camera[0] - 1) < 0.2


def test_a_triangle_is_drawn_where_it_projects_and_the_nearer_one_wins() -> None:
    body = load_body()
    dressed = dress(draw_wardrobe(body, STYLES["summer"], np.random.default_rng(0)))
    figure = dressed.posed(np.zeros((len(body.parents), 3), dtype=np.float32), np.eye(3, dtype=np.float32))
    cloths = figure.cloths.copy()
    cloths[:, 6] = 0
    cloths[Cloth.THING, :3], cloths[Cloth.THING + 1, :3] = (1, 0, 0), (0, 1, 0)
    points = np.array([[0, 0, 5], [8, 0, 5], [0, 8, 5], [0, 0, 4], [4, 0, 4], [0, 4, 4]], dtype=np.float32)
    flat = dataclasses.replace(
        figure,
        vertices=points,
        faces=np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32),
        surface=np.array([Surface.THING, Surface.THING + 1], dtype=np.uint8),
        part=np.zeros(2, dtype=np.uint8),
        coordinates=np.zeros((6, 4), dtype=np.float32),
        cloths=cloths,
    )
    one, none = np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32)
    up = np.array([0, -1, 0], dtype=np.float32)
    picture, cover = render_figure(flat, points[:, :2].copy(), Light(up, none, one, one, up), 8, 8)
    assert picture[1, 1].argmax() == 1  # green is nearer
    assert picture[5, 1].argmax() == 0  # only red reaches here
    assert cover[7, 7] == 0
    assert cover.sum() == pytest.approx(32, abs=3)


def test_things_carried_are_seen() -> None:
    body = load_body()
    wardrobe = draw_wardrobe(body, STYLES["summer"], np.random.default_rng(0))
    bare = dress(dataclasses.replace(wardrobe, things=()))
    for thing in ("pack", "satchel.L", "tote.R", "shopper.L", "case.R", "handbag.L"):
        assert solids_of(thing), thing
        loaded = dress(dataclasses.replace(wardrobe, things=(thing,)))
        assert len(loaded.faces) > len(bare.faces)


def test_a_longer_hem_shows_more_skirt() -> None:
    body = load_body()
    wardrobe = draw_wardrobe(body, STYLES["summer"], np.random.default_rng(0))
    lengths = [len(dress(dataclasses.replace(wardrobe, skirt_hem=hem)).faces) for hem in (0, 0.25, 0.5, 0.75)]
    assert lengths == sorted(set(lengths))


def test_the_horizon_of_a_level_camera_is_in_the_middle() -> None:
    view = View(height=3.0, pitch=0.0, focal=500.0, size=(640, 480))
    far = view.project(np.array([[0, 3.0, 1e6]], dtype=np.float32) @ view.turn.T)
    assert np.allclose(far, [[320, 240]], atol=0.1)
    tilted = dataclasses.replace(view, pitch=0.2)
    assert tilted.project(np.array([[0, 3.0, 1e6]], dtype=np.float32) @ tilted.turn.T)[0, 1] < 200
    rays = tilted.rays()
    point = rays[300, 400] * 7
    assert np.allclose(tilted.project(point[None] @ tilted.turn.T), [[400.5, 300.5]], atol=1e-2)


def test_a_window_of_the_same_scale_is_a_slice() -> None:
    picture = np.random.default_rng(0).uniform(size=(40, 30, 3)).astype(np.float32)
    assert np.allclose(window(picture, (5.0, 7.0), 16.0, 16, 8), picture[7:23, 5:13], atol=1e-5)
    assert np.isfinite(window(picture, (-20.0, 30.0), 64.0, 16, 8)).all()


def test_a_neutral_camera_keeps_gray_gray() -> None:
    response = draw_response(np.random.default_rng(0), 0.0)
    gray = np.full((HEIGHT, WIDTH, 3), 0.2, dtype=np.float32)
    shown = photograph(gray, response, np.random.default_rng(1)).mean(axis=(0, 1))
    assert np.ptp(shown) < 15
    assert 90 < shown.mean() < 200


def test_linear_light_of_srgb_has_its_known_values() -> None:
    assert linear("000000") == pytest.approx([0, 0, 0])
    assert linear("ffffff") == pytest.approx([1, 1, 1])
    assert linear("808080")[0] == pytest.approx(0.21586, abs=1e-4)
