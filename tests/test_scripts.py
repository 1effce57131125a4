"""Scripts that make what is committed: the network that ships, and the numbers of crops."""

import sys

import pytest

import domain_gap
import pretrained
from crop_folders import STORE
from ogreid.models.pretrained import load_pretrained
from tiny_runs import fit_tiny


def run_script(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    module.main()


def test_the_network_of_a_run_on_synthetic_people_is_written_and_no_other(place, monkeypatch):
    run = fit_tiny("trainer.max_epochs=1", "data.train=[plaza-4]", "data.test=[plaza-4]")
    run_script(pretrained, monkeypatch, run.folder, "--to", place / "own.safetensors")
    written = load_pretrained(place / "own.safetensors")
    assert "plaza-4" in written.card["trained on"] and written.options == {"scales": [1.0], "mirror": False}
    other = fit_tiny("trainer.max_epochs=1", "name=small")
    with pytest.raises(SystemExit, match="expected synthetic people only"):
        run_script(pretrained, monkeypatch, other.folder, "--to", place / "other.safetensors")
    assert not (place / "other.safetensors").exists()


def test_crops_are_measured(crops, monkeypatch, capsys):
    run_script(domain_gap, monkeypatch, STORE, "--data", crops / "data", "--count", 8)
    table = capsys.readouterr().out
    assert f"| {STORE} |" in table and "| saturation | 0." in table and "person" not in table
