"""Unit vectors lie on the grid; about their center nothing is lost, and a cone becomes short."""

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.retrieval.unit_vectors import CenteredRows, unit_vectors


def cone(rows=300, width=24, lean=20.0):
    rng = np.random.default_rng(0)
    return unit_vectors(rng.standard_normal((rows, width)) + lean * rng.standard_normal(width), "row")


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_have_unit_length_and_lie_on_the_grid(scale):
    rows = unit_vectors(np.random.default_rng(0).standard_normal((50, 512)) * scale, "row")
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(rows * 2.0**24, np.rint(rows * 2.0**24))


@pytest.mark.parametrize(("value", "problem"), [(0.0, "all zeros"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_the_first_row_that_cannot_be_normalized_is_named(value, problem):
    rows = np.ones((5, 4), dtype=np.float32)
    rows[3:] = value
    with pytest.raises(InputError, match=f"cloud 3 .*{problem}"):
        unit_vectors(rows, "cloud")


def test_center_and_residual_are_the_row_to_the_bit():
    rows = cone()
    gallery = CenteredRows.build(rows.copy())
    np.testing.assert_array_equal(gallery.center + gallery.residual, rows)
    assert gallery.radius < 0.1
    exact = gallery.residual.astype(np.float64) @ gallery.center.astype(np.float64)
    np.testing.assert_allclose(gallery.offset, exact, atol=2.0**-24)
    np.testing.assert_allclose(gallery.radius, np.linalg.norm(gallery.residual.astype(np.float64), axis=1).max())


def test_one_row_on_the_other_side_keeps_the_center_at_zero():
    """A residual longer than 1 might not be a float32 number."""
    rows = cone()
    rows[7] *= -1
    gallery = CenteredRows.build(rows.copy())
    np.testing.assert_array_equal(gallery.residual, rows)
    assert not gallery.center.any() and not gallery.offset.any()
    assert abs(gallery.radius - 1) < 1e-5
