"""Pictures drawn from numbers."""

import numpy as np

from ogreid.training.callbacks.drawing import heat_map, scatter


def test_a_higher_value_is_a_darker_cell_and_an_unknown_one_is_white():
    values = np.array([[0.0, 25.0, 50.0, 100.0, np.nan]])
    picture = heat_map(["here"], ["a", "b", "c", "d", "e"], values)
    # Just inside the lower left corner of a cell there is no text; cells lie side by side at the right edge.
    bottom = picture[-2].astype(int).sum(axis=1)
    changes = np.flatnonzero(np.diff(bottom)) + 1
    levels = bottom[[0, *changes]]
    assert levels.tolist() == [*sorted(levels[:-1], reverse=True), 255 * 3]
    assert len(levels) == 5  # names and the white cell of 0, three blues, the white of NaN


def test_a_heat_map_has_room_for_its_names():
    short, long = (heat_map([name], [name], np.array([[50.0]])) for name in ("a", "a much longer name of a store"))
    assert long.shape[1] > 2 * short.shape[1]
    assert heat_map(["a", "b"], ["a"], np.full((2, 1), 50.0)).shape[0] * 2 == short.shape[0] * 3


def test_a_dot_lies_where_it_should_in_the_color_of_its_group():
    xy = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    picture = scatter(xy, np.array([5, 5, 9, 7]), side=100)
    lower_left, upper_right, upper_left, lower_right = (
        picture[y, x].tolist() for x, y in ((16, 84), (84, 16), (16, 16), (84, 84))
    )
    assert lower_left == upper_right
    assert len({tuple(c) for c in (lower_left, upper_left, lower_right, [255, 255, 255])}) == 4


def test_points_in_one_place_are_drawn_in_the_middle():
    assert scatter(np.ones((3, 2)), np.arange(3), side=100)[50, 50].tolist() != [255, 255, 255]
