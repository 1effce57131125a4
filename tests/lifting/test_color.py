from pathlib import Path

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.lifting import Mesh, PinholeCamera, ResizedCamera, WeakCamera, lift, lift_surface, upright_template
from ogreid.lifting.camera import pixel_grid

GOLDEN = Path(__file__).parents[1] / "golden"
SQUARE = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0.4], [-0.5, 0.5, 0.4]], dtype=np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
CAMERA = WeakCamera(0.9, (0.02, -0.03))


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (128, 64, 3), dtype=np.uint8)


def random_body(seed: int, count: int = 900) -> Mesh:
    rng = np.random.default_rng(seed)
    spread = np.array([0.25, 0.7, 0.15])
    return Mesh((rng.normal(size=(count, 3)) * spread).astype(np.float32), None, CAMERA)


def half_away(value: float) -> int:
    return int(np.sign(value) * np.floor(abs(value) + 0.5))


def published_by_loops(image, mesh):
    """Section 4 of the facts, one line at a time."""
    s, (tx, ty) = mesh.camera.scale, mesh.camera.translation
    owner = {}
    for number, (x, y, z) in enumerate(mesh.vertices.astype(np.float64)):
        row = half_away((s * (y + ty) + 1) / 2 * 128)
        column = half_away(half_away((s * (x + tx) + 1) / 2 * 128) - 64 + 32)
        place = (min(max(row, 0), 127), min(max(column, 0), 63))
        if place not in owner or z < mesh.vertices[owner[place], 2]:
            owner[place] = number
    kept = dict(owner)
    for row in range(1, 127):
        for column in range(1, 63):
            if (row, column) in owner:
                for other in ((row - 1, column), (row, column - 1)):
                    here = mesh.vertices[owner[row, column], 2]
                    if other in owner and float(mesh.vertices[owner[other], 2]) - float(here) > 0.05:
                        kept.pop(other, None)
    by_vertex = sorted(kept.items(), key=lambda item: item[1])
    lines = [[*mesh.vertices[number], *(image[place] / 255)] for place, number in by_vertex]
    depth = mesh.vertices[:, 2].astype(np.float64).mean()
    for row in range(128):
        for column in range(64):
            if (row, column) not in kept:
                x = ((column + 32) / 128 * 2 - 1) / s - tx
                y = (row / 128 * 2 - 1) / s - ty
                lines.append([x, y, depth, *(image[row, column] / 255)])
    return np.array(lines)


def test_vertex_mode_writes_the_released_code_s_points():
    golden = np.load(GOLDEN / "lift_vertex.npz")
    camera = WeakCamera(float(golden["camera_scale"]), tuple(golden["camera_translation"]))
    points = lift(golden["image"], Mesh(golden["vertices"], None, camera), mode="vertex")
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, golden["points"], atol=1e-6)  # written with six decimals


@pytest.mark.parametrize("seed", [3, 4])
def test_vertex_mode_equals_a_line_by_line_transcription(image, seed):
    mesh = random_body(seed)
    np.testing.assert_allclose(lift(image, mesh, mode="vertex"), published_by_loops(image, mesh), atol=1e-6)


def test_vertex_mode_without_background_keeps_every_vertex_and_blanks_the_hidden_ones(image):
    mesh = random_body(5)
    scene, bare = lift(image, mesh, mode="vertex"), lift(image, mesh, mode="vertex", background=False)
    np.testing.assert_array_equal(bare[:, :3], mesh.vertices)
    owners = np.flatnonzero((bare[:, 3:] != 1).any(axis=1))
    np.testing.assert_array_equal(bare[owners], scene[: len(owners)])
    assert 0 < len(owners) < len(mesh.vertices)


@pytest.mark.parametrize(
    "camera",
    [
        CAMERA,
        WeakCamera(0.9, (0.05, 0.04), order="sx+t"),
        PinholeCamera(350.0, (0.05, -0.1, 6.0), (31.0, 66.0)),
        PinholeCamera(90.0, (0.0, 0.0, 1.0), (32.0, 64.0)),
        ResizedCamera(CAMERA, 200, 80),
        ResizedCamera(PinholeCamera(200.0, (0.0, 0.0, 2.0), (40.0, 100.0)), 200, 80),
    ],
)
def test_every_pixel_s_point_projects_back_to_its_pixel(image, camera):
    lifted = lift_surface(image, Mesh(SQUARE, FACES, camera))
    rows, columns = np.indices((128, 64))
    back = camera.pixels(lifted.points[:, :3].astype(np.float64), 128, 64)
    np.testing.assert_allclose(back, np.stack([columns, rows], -1).reshape(-1, 2), atol=2e-4)
    np.testing.assert_allclose(lifted.points[~lifted.foreground, 2], SQUARE[:, 2].mean(), atol=1e-6)
    assert 0.1 < lifted.foreground.mean() < 0.9


def test_a_near_pinhole_camera_sees_the_tilted_plane_where_it_is(image):
    camera = PinholeCamera(90.0, (0.0, 0.0, 1.0), (32.0, 64.0))
    lifted = lift_surface(image, Mesh(SQUARE, FACES, camera))
    on = lifted.points[lifted.foreground]
    np.testing.assert_allclose(on[:, 2], (on[:, 1] + 0.5) * 0.4, atol=1e-6)
    expected = np.array([0, 0.4, -1]) / np.hypot(0.4, 1)
    np.testing.assert_allclose(lifted.normal[lifted.foreground], np.tile(expected, (len(on), 1)), atol=1e-6)


def test_raster_points_are_the_ray_s_first_hit(image):
    """Against a ray caster that tries every face for every pixel."""
    rng = np.random.default_rng(8)
    vertices = rng.normal(size=(30, 3)) * [0.3, 0.6, 0.2]
    mesh = Mesh(vertices, rng.integers(0, 30, (25, 3)) * 1, CAMERA)
    lifted = lift_surface(image, mesh)
    grid = CAMERA.unproject(pixel_grid(128, 64).reshape(-1, 2), 0.0, 128, 64)
    nearest = np.full(len(grid), np.inf)
    for a, b, c in vertices[mesh.faces]:
        edges = np.stack([b[:2] - a[:2], c[:2] - a[:2]], axis=1)
        if abs(np.linalg.det(edges)) < 1e-12:
            continue
        weight = np.linalg.solve(edges, (grid - a[:2]).T)
        hit = (weight >= 0).all(axis=0) & (weight.sum(axis=0) <= 1)
        z = a[2] + weight[0] * (b[2] - a[2]) + weight[1] * (c[2] - a[2])
        nearest = np.where(hit, np.minimum(nearest, z), nearest)
    np.testing.assert_array_equal(lifted.foreground, np.isfinite(nearest))
    np.testing.assert_allclose(lifted.points[lifted.foreground, 2], nearest[lifted.foreground], atol=1e-6)
    assert lifted.foreground.any()


def test_body_coordinates_name_the_surface_point(image):
    mesh = upright_template()
    lifted = lift_surface(image, mesh)
    face, second, third = lifted.body[lifted.foreground].T
    corners = mesh.vertices[mesh.faces[face.astype(int)]]
    weights = np.stack([1 - second - third, second, third], axis=1)
    np.testing.assert_allclose(
        np.einsum("pc,pcd->pd", weights, corners), lifted.points[lifted.foreground, :3], atol=1e-5
    )
    np.testing.assert_array_equal(lifted.body[~lifted.foreground], [[-1, 0, 0]] * (~lifted.foreground).sum())


def test_row_by_row_modes_give_the_crop_back(image):
    for mode in ("raster", "nearest"):
        points = lift(image, upright_template(), mode=mode)
        np.testing.assert_array_equal(np.rint(points[:, 3:] * 255).reshape(128, 64, 3), image)


def test_without_background_the_plane_s_places_hold_white_body_points(image):
    lifted = lift_surface(image, upright_template())
    bare = lift(image, upright_template(), background=False)
    np.testing.assert_array_equal(bare[lifted.foreground], lifted.points[lifted.foreground])
    blank = bare[~lifted.foreground]
    assert (blank[:, 3:] == 1).all()
    assert {tuple(point) for point in blank[:, :3]} <= {tuple(point) for point in bare[lifted.foreground, :3]}


def test_nearest_mode_takes_a_vertex_within_reach_and_none_from_the_back(image):
    mesh = upright_template()
    points = lift(image, mesh, mode="nearest").reshape(128, 64, 6)
    chest = points[40, 32, :3]
    assert (np.abs(mesh.vertices - chest).sum(axis=1) < 1e-6).any()
    assert chest[2] < 0  # the front; the back has positive z
    pixels = mesh.camera.pixels(chest[None], 128, 64)[0]
    assert np.hypot(*(pixels - [32, 40])) <= 1.5
    assert points[2, 2, 2] == pytest.approx(mesh.vertices[:, 2].mean(), abs=1e-6)


def test_the_template_fills_a_typical_crop(image):
    seen = lift_surface(image, upright_template()).foreground.reshape(128, 64)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert 6 <= rows[0] <= 12 and 116 <= rows[-1] <= 122
    assert abs((columns[0] + columns[-1]) / 2 - 32) <= 1
    assert 0.2 < seen.mean() < 0.4
    assert rows.size == rows[-1] - rows[0] + 1  # no seam between the rings


def test_a_square_or_wide_picture_is_lifted_too():
    wide = np.zeros((40, 90, 3), dtype=np.uint8)
    mesh = Mesh(SQUARE, FACES, WeakCamera(0.5, (0.0, 0.0)))
    lifted = lift_surface(wide, mesh)
    assert lifted.foreground.reshape(40, 90)[20, 45]
    assert lift(wide, mesh, mode="vertex").shape == (3600, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"faces": None}, "raster mode needs faces"),
        ({"camera": WeakCamera(0.9, (9.0, 0.0))}, r"columns \d+ to \d+.*0% of it inside"),
        ({"vertices": SQUARE * np.nan}, "not finite"),
        ({"vertices": SQUARE[:, :2]}, r"\(4, 2\); expected \(V, 3\)"),
        ({"faces": FACES + 3}, "vertices 3 to 6, but there are 4"),
        ({"faces": FACES.astype(float)}, "expected integers"),
        ({"camera": PinholeCamera(90.0, (0.0, 0.0, -1.0), (32.0, 64.0))}, "behind the camera"),
    ],
)
def test_a_mesh_that_cannot_be_lifted_is_refused_in_one_line(image, change, words):
    with pytest.raises(InputError, match=words) as refusal:
        lift(image, Mesh(**({"vertices": SQUARE, "faces": FACES, "camera": CAMERA} | change)))
    assert "\n" not in str(refusal.value)


def test_an_unknown_mode_a_wrong_image_and_an_empty_camera_are_refused(image):
    mesh = Mesh(SQUARE, FACES, CAMERA)
    with pytest.raises(InputError, match="did you mean raster"):
        lift(image, mesh, mode="rastr")
    with pytest.raises(InputError, match="uint8"):
        lift(image / 255, mesh)
    for scale in (0.0, np.nan):
        with pytest.raises(InputError, match="scale > 0"):
            WeakCamera(scale, (0, 0))
