"""Directions: unit length, on the grid, and the first row without one named."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.retrieval.directions import directions


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_have_unit_length_and_lie_on_the_grid(scale):
    rows = directions(np.random.default_rng(0).standard_normal((50, 512)) * scale, "row")
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(rows * 2.0**24, np.rint(rows * 2.0**24))


def test_rows_come_in_the_order_asked_for():
    rows = np.random.default_rng(1).standard_normal((6, 5))
    order = np.array([4, 0, 4])
    np.testing.assert_array_equal(directions(rows, "row", order), directions(rows, "row")[order])


@pytest.mark.parametrize(("value", "came"), [(0.0, "is all zeros"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_the_first_row_without_a_direction_is_named(value, came):
    rows = np.ones((5, 4), dtype=np.float32)
    rows[3] = value
    with pytest.raises(InputError, match=f"cloud 3 .*{came}"):
        directions(rows, "cloud")
