"""The study on Market-1501: every row is a training that can be started, and equal rows are trained once."""

from pathlib import Path

import pytest

import market
from ogreid import config
from ogreid.training.train import build_module

ROOT = Path(__file__).parents[1]
TRAINED = [row for row in market.ROWS if not row.model]


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: f"{row.part}, {row.label}")
def test_a_row_composes_and_its_network_can_be_built(row):
    module, *arguments = market.command(row, 1)
    assert module == "ogreid.fit" and arguments[:2] == ["--experiment", row.experiment]
    experiment = config.load(row.experiment, arguments[2:], start=ROOT)
    assert (experiment.seed, experiment.trainer["max_epochs"]) == (1, row.epochs)
    assert not experiment.runs.pictures and experiment.data.val == "holdout"
    build_module(experiment, start=False)


def test_equal_rows_share_their_training_and_others_do_not():
    settings = {(row.experiment, row.settings, row.epochs, row.model) for row in market.ROWS}
    assert len({row.name for row in market.ROWS}) == len(settings) < len(market.ROWS)


def test_the_page_has_exactly_the_collected_numbers(tmp_path, monkeypatch):
    page = market.PAGE.read_text()
    monkeypatch.setattr(market, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(market, "PICTURE", tmp_path / "curves.svg")
    market.PAGE.write_text(page)
    market.write_page()
    assert market.PAGE.read_text() == page, "python scripts/market.py --page"
    assert market.PICTURE.read_text().startswith("<?xml")
