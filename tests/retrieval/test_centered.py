"""Rows about their center: nothing is lost, and a cone becomes short."""

import numpy as np

from ogreid.retrieval.centered import Centered
from ogreid.retrieval.directions import directions


def cone(rows=300, width=24, lean=20.0):
    rng = np.random.default_rng(0)
    return directions(rng.standard_normal((rows, width)) + lean * rng.standard_normal(width), "row")


def test_center_and_rest_are_the_row_to_the_bit():
    rows = cone()
    known = Centered.take(rows.copy())
    np.testing.assert_array_equal(known.center + known.rest, rows)
    assert known.reach < 0.1
    exact = known.rest.astype(np.float64) @ known.center.astype(np.float64)
    np.testing.assert_allclose(known.offset, exact, atol=2.0**-24)
    np.testing.assert_allclose(known.reach, np.linalg.norm(known.rest.astype(np.float64), axis=1).max())


def test_one_row_on_the_other_side_keeps_the_center_at_zero():
    """A rest longer than 1 might not be a float32 number."""
    rows = cone()
    rows[7] *= -1
    known = Centered.take(rows.copy())
    np.testing.assert_array_equal(known.rest, rows)
    assert not known.center.any() and not known.offset.any()
    assert abs(known.reach - 1) < 1e-5


def test_tiles_are_parts_of_the_whole():
    known = Centered.take(cone())
    tile = known.tile(290, 64)
    np.testing.assert_array_equal(tile.rest, known.rest[290:])
    np.testing.assert_array_equal(tile.offset, known.offset[290:])
    assert tile.reach == known.reach


def test_no_rows_have_no_center():
    assert not Centered.take(np.empty((0, 8), dtype=np.float32)).center.any()
