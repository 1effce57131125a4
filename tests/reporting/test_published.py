"""The paper as data: entries are whole, and a run finds the one that fits it."""

from pathlib import Path

import pytest

from ogreid.reporting.published import published_for, published_tables
from ogreid.reporting.reading import RunRecord


def run(train="market", model="ognet", loss="circle", inputs="scene"):
    settings = {"data": {"train": [train], "inputs": inputs}, "model": {"name": model}, "loss": {"name": loss}}
    return RunRecord(Path("run"), settings, {}, {})


@pytest.mark.parametrize(
    ("settings", "on", "rank1", "mean"),
    [
        ({}, "market", 87.80, 70.56),
        ({"model": "ognet_small", "loss": "ce"}, "market", 86.79, 67.92),
        ({"train": "cuhk", "model": "ognet_deep"}, "cuhk", 49.43, 45.71),
        ({"train": "msmt", "model": "resnet50", "loss": "ce"}, "msmt", 46.88, 22.25),
        ({"model": "ognet_small", "loss": "ce", "inputs": "image"}, "market", 85.72, 67.28),
        ({"loss": "ce"}, "duke", 26.5, 13.1),
        ({"train": "duke"}, "msmt", 6.8, 1.9),
    ],
)
def test_a_run_finds_its_entry(settings, on, rank1, mean):
    found = published_for(run(**settings), on)
    assert (found.rank1, found.mean_average_precision) == (rank1, mean)


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({"train": "plaza-160"}, "plaza-160"),
        ({"loss": "triplet"}, "market"),
        ({"train": "cuhk"}, "market"),
        ({}, "winter-40"),
    ],
)
def test_what_the_paper_does_not_say_is_not_made_up(settings, on):
    assert published_for(run(**settings), on) is None


def test_every_entry_of_the_comparison_table_covers_the_four_benchmarks_in_percent():
    entries = published_tables()["retrieval"]
    assert len(entries) == 18
    for entry in entries:
        for benchmark in ("market", "duke", "cuhk", "msmt"):
            rank1, mean = entry[benchmark]
            assert 0 < mean < 100
            assert 0 < rank1 < 100
