"""Charts: points lie where their numbers are, colors follow the page, nothing of matplotlib's state changes."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from ogreid.reporting.charts import PALETTE, Line, bar_chart, line_chart, scatter_chart, thin_out

LABELS = {"title": "t", "x_label": "x", "y_label": "y"}


def places(svg):
    """(x, y) of every tooltip's marker, in pixels from the upper left corner."""
    return [(float(x), float(y)) for x, y in re.findall(r'<use [^>]* x="([\d.]+)" y="([\d.]+)"', svg)]


def notes(svg):
    return re.findall(r"<use [^>]*><title>([^<]+)</title>", svg)


def test_points_lie_where_their_numbers_are_and_say_so():
    svg = line_chart([Line("a", [(0, 0), (5, 5), (10, 10)])], **LABELS).svg()
    first, middle, last = places(svg)
    assert (first[0], last[0]) == (46, 408) and last[1] < first[1] == 230
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.1)
    assert notes(svg) == ["a: 0 at 0", "a: 5 at 5", "a: 10 at 10"]
    for value in (0.0, 37.25, -4.0, 1e-9, 1e6):
        (_, first), (_, last) = places(line_chart([Line("flat", [(1, value), (2, value)])], **LABELS).svg())
        assert 0 < first == last < 270


def test_levels_take_no_color_from_the_lines_and_a_spread_is_a_whisker():
    lines = [Line("level", [(0, 1)], level=True), Line("a", [(0, 1), (1, 2)], spread=[0, 1]), Line("b", [(0, 2)])]
    chart = line_chart([*lines, Line("empty", [])], **LABELS)
    svg = chart.svg()
    assert [(entry.name, entry.dashed) for entry in chart.legend] == [("level", True), ("a", False), ("b", False)]
    assert "stroke: var(--c0)" in svg and "stroke: var(--c1)" in svg and "var(--c2)" not in svg
    assert svg.count("stroke: var(--ink); stroke-width: 1.3") == 1


def test_a_chart_follows_the_page_and_a_file_the_screen():
    chart = line_chart([Line("a <b>", [(0, 1), (1, 2)]), Line("level", [(0, 1)], level=True)], **LABELS)
    assert not any(light in chart.svg() for light, _ in PALETTE.values())
    file = chart.file()
    tree = ElementTree.fromstring(file)
    assert "prefers-color-scheme:dark" in file and all(f"{dark} !important" in file for _, dark in PALETTE.values())
    assert "a <b>: 1 at 0, 2 at 1" in "".join(tree.itertext()) and float(tree.get("height")) > 270
    assert not re.search(r"(?:href|src)=\"(?!#)|url\((?!#)|@import", file)
    assert file == chart.file()


def test_names_of_any_script_are_drawn_as_they_are():
    svg = bar_chart(["$\\frac{1$", "行人 & <b>"], {"$a$": [(1.0, 0.0), (2.0, 0.0)]}, title="t", x_label="x").file()
    assert "$\\frac{1$" in "".join(ElementTree.fromstring(svg).itertext()) and "行人 &amp; &lt;b&gt;" in svg


def test_no_setting_of_matplotlib_changes_or_matters():
    chart = line_chart([Line("a", [(0, 1), (1, 2)])], **LABELS)
    plain = chart.file()
    with matplotlib.rc_context({"text.usetex": True, "svg.fonttype": "path", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert chart.file() == plain
        assert dict(matplotlib.rcParams) == before


def test_bars_are_as_long_as_their_numbers():
    series = {"a": [(40.0, 2.0), (20.0, 0.0)], "b": [None, (10.0, 0.0)]}
    chart = bar_chart(["one", "two"], series, title="t", x_label="x")
    corners = re.findall(r'd="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^>]* style="fill: var\(--c\d\)', chart.svg())
    lengths = [float(right) - float(left) for left, right in corners]
    assert lengths == pytest.approx([lengths[0], lengths[0] / 2, lengths[0] / 4], abs=0.1)
    assert "40.0 \N{PLUS-MINUS SIGN} 2.0" in chart.svg()
    assert chart.description == "one: a 40.0; two: a 20.0, b 10.0"


def test_dots_have_the_color_and_the_name_of_their_group():
    xy = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    chart = scatter_chart(xy, np.array([5, 5, 9, 7]), title="t", description="d", group="camera")
    assert notes(chart.svg()) == ["camera 5", "camera 5", "camera 7", "camera 9"]
    (left, bottom), (right, top), *_ = places(chart.svg())
    assert right - left == pytest.approx(bottom - top, abs=0.1) and top < bottom
    assert len({entry.color for entry in chart.legend}) == 3


def test_thinning_keeps_the_mean_and_short_curves():
    points = [(float(i), float(i % 7)) for i in range(1000)]
    thin = thin_out(points, 100)
    assert len(thin) == 100 and np.mean(thin) == pytest.approx(np.mean(points))
    assert thin_out(points[:50]) == points[:50] and thin_out([]) == []
