"""Charts: points land where they belong, ticks are round, long curves are thinned truthfully."""

import re

import pytest

from ogreid.reporting.charts import HEIGHT, LEFT, RIGHT, WIDTH, Line, _ticks, line_chart, thin_out


def drawn_points(svg):
    path = re.search(r'<g class="line c\d"><path d="M([^"]+)"', svg)[1]
    return [tuple(map(float, place.split())) for place in path.split("L")]


def test_points_land_where_they_belong():
    svg = line_chart([Line("a", [(0, 0), (5, 5), (10, 10)])], title="t", x_label="x", y_label="y", y_range=(0, 10))
    first, middle, last = drawn_points(svg)
    assert (first[0], last[0]) == (LEFT, WIDTH - RIGHT)
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.1)
    assert 0 < last[1] < first[1] < HEIGHT


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3, 47, [10, 20, 30, 40]),
        (-2, 2, [-2, -1, 0, 1, 2]),
        (1, 50, [10, 20, 30, 40, 50]),
    ],
)
def test_ticks_are_round_and_inside(low, high, ticks):
    assert _ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("value", [0.0, 1.0, 37.25, -4.0, 1e-9, 1e6])
def test_a_flat_curve_is_drawn(value):
    svg = line_chart([Line("flat", [(1, value), (2, value)])], title="t", x_label="x", y_label="y")
    (_, first), (_, last) = drawn_points(svg)
    assert first == last
    assert 0 < first < HEIGHT


def test_nothing_to_draw_is_no_chart():
    assert line_chart([Line("empty", [])], title="t", x_label="x", y_label="y") == ""


def test_levels_take_no_color_from_the_lines():
    lines = [Line("level", [(0, 1)], level=True), Line("a", [(0, 1), (1, 2)]), Line("b", [(0, 2), (1, 1)])]
    svg = line_chart(lines, title="t", x_label="x", y_label="y")
    assert re.findall(r'<li class="(\w+)"', svg) == ["level", "c0", "c1"]
    assert re.findall(r'class="line (c\d)"', svg) == ["c0", "c1"]


def test_thinning_keeps_the_mean_and_short_curves():
    points = [(float(i), float(i % 7)) for i in range(1000)]
    thin = thin_out(points, 100)
    assert len(thin) == 100
    assert sum(y for _, y in thin) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
    assert thin_out(points[:50]) == points[:50]
