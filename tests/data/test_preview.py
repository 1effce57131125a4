import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ogreid.data.preview import beside, draw_cloud, export_ply, write_preview
from ogreid.errors import InputError
from ogreid.lifting.readers.mesh_files import read_vertices_and_faces
from small_stores import small_arrays, small_rows, small_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("stores") / "a&b", small_rows(14), small_arrays(14, points=200))


def test_a_preview_shows_crops_beside_their_clouds(store, tmp_path):
    page = write_preview(store, 3, tmp_path / "page.html").read_text()
    assert page.count("<figure>") == 3 and "<title>a&amp;b</title>" in page
    images = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(images) == 3 * 4
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(images[0]))))
    np.testing.assert_array_equal(crop, store.crop(0))
    with pytest.raises(InputError, match="--preview 0"):
        write_preview(store, 0, tmp_path / "page.html")


def test_a_drawn_cloud_shows_near_points_before_far_ones_and_turns():
    xyz = np.array([[0, -1, 0], [0, 0, -0.3], [0, 0, 0.3], [0, 1, 0]])
    rgb = np.array([[9, 9, 9], [255, 0, 0], [0, 0, 255], [9, 9, 9]], dtype=np.uint8)
    assert draw_cloud(xyz, rgb, 0)[96, 64].tolist() == [255, 0, 0]
    assert draw_cloud(xyz, rgb, 180)[96, 64].tolist() == [0, 0, 255]
    behind = draw_cloud(xyz, rgb, 0, marked=np.array([0, 0, 1, 0]))
    assert (behind == [0, 0, 255]).all(2).sum() == 16 and not (behind == [255, 0, 0]).all(2).any()
    side = draw_cloud(xyz, rgb, 90)[96]
    assert np.flatnonzero(side[:, 0] == 255).mean() < 64 < np.flatnonzero(side[:, 2] == 255).mean()


def test_images_beside_each_other_are_equally_high_and_keep_their_pixels():
    red, blue = np.full((4, 2, 3), (255, 0, 0), np.uint8), np.full((2, 2, 3), (0, 0, 255), np.uint8)
    row = np.asarray(beside(red, blue, height=8, gap=3))
    assert row.shape == (8, 4 + 3 + 8, 3)
    assert (row[:, :4] == (255, 0, 0)).all() and (row[:, 4:7] == 255).all() and (row[:, 7:] == (0, 0, 255)).all()


def test_an_exported_cloud_holds_the_stored_points(store, tmp_path):
    path = export_ply(store, 2, tmp_path / "cloud.ply")
    vertices, faces = read_vertices_and_faces(path)
    xyz, rgb = store.raw([2])
    np.testing.assert_array_equal(vertices, xyz[0].astype(np.float64))
    assert faces is None
    points = np.frombuffer(path.read_bytes()[-store.points * 15 :], dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    np.testing.assert_array_equal(points["rgb"], rgb[0])
    with pytest.raises(InputError, match="has rows 0 to 13"):
        export_ply(store, 14, tmp_path / "cloud.ply")
