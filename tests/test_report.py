"""The report command: pages and tables by the suffix of their file."""

import csv
import json

import pytest

from fabricated import make_run
from ogreid.report import main
from sweeping_files import make_sweep


def read_csv(text):
    return list(csv.DictReader(text.splitlines()))


def test_one_run_has_a_page_in_its_own_folder_and_several_have_one_here(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened, runs = [], [make_run(tmp_path / f"s{i}") for i in range(2)]
    monkeypatch.setattr("webbrowser.open", opened.append)
    commands = ([str(runs[0]), "--open"], ["s0", "--no-pictures", "--to", "else.html"], ["s0", "s1"])
    assert [main(command) for command in commands] == [0, 0, 0]
    own, other, several = (tmp_path / name for name in ("s0/report.html", "else.html", "comparison.html"))
    assert opened == [own.resolve().as_uri()]
    assert capsys.readouterr().out.split() == [str(own), other.name, several.name]
    assert "data:image" in own.read_text() and "data:image" not in other.read_text() and "2 runs" in several.read_text()


def test_tables_are_printed_as_markdown_and_csv(tmp_path, capsys):
    run = str(make_run(tmp_path / "demo" / "s0", train="market", transfer="duke", pictures=False))
    main([run, "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["market", "demo \N{MIDDLE DOT} s0", "60.00"]
    assert any("duke (transfer)" in line and "paper, Table III" in line for line in lines)
    sweep = make_sweep(tmp_path / "sweep", [{"model.k": 4, "level": 20.0}])
    main([str(sweep), "--markdown"])
    assert "plaza-8 mAP" in capsys.readouterr().out.splitlines()[0]
    main([run, "--csv"])
    rows = read_csv(capsys.readouterr().out)
    kinds = ["run", "baseline", "baseline", "paper", "difference", "run", "paper", "difference"]
    assert [row["kind"] for row in rows] == kinds
    assert float(rows[0]["mAP"]) == 40 and rows[0]["seed"] == "3" and rows[0]["queries"] == "60"
    assert float(rows[4]["mAP"]) == pytest.approx(40 - 70.56) and rows[4]["rank5"] == ""


def test_a_file_is_of_the_kind_that_its_suffix_says(tmp_path, capsys):
    settings = [(k, seed) for k in (4, 8) for seed in (0, 1)]
    runs = [str(make_run(tmp_path / f"k{k}/s{s}", k=k, seed=s, level=k + s, pictures=False)) for k, s in settings]
    for suffix, start in (("csv", "data set,transfer"), ("md", "| data set"), ("html", "<!doctype html>")):
        assert main([*runs, "--to", str(tmp_path / f"all.{suffix}")]) == 0
        assert capsys.readouterr().out == f"{tmp_path / f'all.{suffix}'}\n"
        assert (tmp_path / f"all.{suffix}").read_text().startswith(start)
    rows = [row for row in read_csv((tmp_path / "all.csv").read_text()) if row["data set"] == "plaza-8"]
    runs, means = ([row for row in rows if row["kind"] == kind] for kind in ("run", "mean"))
    assert [(row["seed"], row["model.k"]) for row in runs] == [(str(seed), str(k)) for k, seed in settings]
    assert [(row["seed"], row["model.k"], row["mAP"]) for row in means] == [("", "4", "4.5"), ("", "8", "8.5")]


def test_the_finished_runs_of_a_sweep_stand_beside_others_each_once(tmp_path, caplog):
    runs = [make_run(tmp_path / f"runs/demo/k{k}", k=k, level=k, pictures=False) for k in (4, 8, 12)]
    rows = [{"model.k": 4, "level": 4.0}, {"model.k": 8, "level": 8.0}, {"model.k": 16, "error": "out of memory"}]
    sweep = make_sweep(tmp_path / "runs/sweeps/k", rows)
    content = json.loads((sweep / "sweep.json").read_text())
    for run, entry in zip(runs, content["runs"], strict=False):
        entry |= {"folder": str(run)} if entry["status"] == "finished" else {}
    (sweep / "sweep.json").write_text(json.dumps(content))
    for suffix in ("csv", "html"):
        assert main([str(runs[2]), str(sweep), str(runs[0]), "--to", str(tmp_path / f"all.{suffix}")]) == 0
    rows = [row for row in read_csv((tmp_path / "all.csv").read_text()) if row["data set"] == "plaza-8"]
    assert [row["model.k"] for row in rows if row["kind"] == "run"] == ["12", "4", "8"]
    page = (tmp_path / "all.html").read_text()
    assert "3 runs" in page and all(f"demo \N{MIDDLE DOT} k{k}" in page for k in (4, 8, 12))
    assert f"{sweep}: 1 of 3 runs" in caplog.text


def test_networks_are_listed_with_what_they_cost(monkeypatch, capsys):
    rows = [("ognet", 1_951_738, 8_450_000_000, "1.95 M"), ("dgcnn", 1_366_144, 120_000_000_000, "")]
    monkeypatch.setattr("ogreid.models.summary.model_rows", lambda: rows)
    assert main(["--models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| ognet   |  1,951,738 |   8.45 | 1.95 M |"
    assert len({len(line) for line in lines}) == 1
