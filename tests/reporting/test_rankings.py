"""Ranked lists of a search: a page, JSON and CSV say the same."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from ogreid.errors import InputError
from ogreid.reporting.pages import write_rankings

ROWS = np.array([(7, 1, "a/<b>.jpg"), (8, 2, "a/c.jpg")], [("identity", int), ("camera", int), ("source", "U20")])
STORE = SimpleNamespace(name="plaza-8", rows=ROWS, crop=lambda row: np.zeros((8, 4, 3), np.uint8) if row else None)
ARGUMENTS = (
    "ognet",
    STORE,
    [("query.jpg", np.zeros((8, 4, 3), np.uint8))],
    np.array([[1, 0]]),
    np.array([[0.75, 0.5]]),
)
EXPECTED = [
    {"query": "query.jpg", "rank": 1, "score": 0.75, "identity": 8, "camera": 2, "source": "a/c.jpg"},
    {"query": "query.jpg", "rank": 2, "score": 0.5, "identity": 7, "camera": 1, "source": "a/<b>.jpg"},
]


def test_json_and_csv_hold_every_image(tmp_path):
    content = json.loads(write_rankings(tmp_path / "r.json", *ARGUMENTS, ranked=2).read_text())
    assert content == {"network": "ognet", "store": "plaza-8", "ranked": 2, "hint": "", "results": EXPECTED}
    rows = csv.DictReader(io.StringIO(write_rankings(tmp_path / "r.csv", *ARGUMENTS, ranked=2).read_text()))
    assert list(rows) == [{key: str(value) for key, value in row.items()} for row in EXPECTED]


def test_a_page_shows_images_or_names_alone(tmp_path):
    page = write_rankings(tmp_path / "r.html", *ARGUMENTS, ranked=2, hint="scores are lower").read_text()
    assert page.count("data:image") == 2  # the query, and the row that has an image
    assert "rank 1, score 0.750, identity 8, camera 2, c.jpg" in page and "&lt;b&gt;.jpg" in page
    assert "scores are lower" in page
    page = write_rankings(tmp_path / "r.html", *ARGUMENTS, ranked=2, people=False).read_text()
    assert "data:image" not in page and "c.jpg 0.75" in page


def test_other_files_are_refused(tmp_path):
    for name in ("r.pdf", "nowhere/r.html"):
        with pytest.raises(InputError, match=name):
            write_rankings(tmp_path / name, *ARGUMENTS, ranked=2)
