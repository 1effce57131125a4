"""The report door."""

import csv
import io

import pytest

from fabricated import make_run
from ogreid.errors import InputError
from ogreid.report import main


def test_one_run_is_told_in_its_own_folder(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").is_file()
    assert main([str(run), "--to", str(tmp_path / "else.html")]) == 0
    assert (tmp_path / "else.html").is_file()


def test_several_runs_are_told_on_one_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [str(make_run(tmp_path / f"s{i}", pictures=False)) for i in range(2)]
    assert main(runs) == 0
    assert "2 runs" in (tmp_path / "comparison.html").read_text()


def test_tables_come_as_markdown_and_csv(tmp_path, capsys):
    run = str(make_run(tmp_path / "made" / "s0", train="market", transfer="duke", pictures=False))
    main([run, "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| market | made \N{MIDDLE DOT} s0 | 60.00 |")
    assert any(line.startswith("| duke (transfer) | paper, Table III") for line in lines)
    main([run, "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    kinds = ["run", "baseline", "baseline", "paper", "difference", "run", "paper", "difference"]
    assert [row["kind"] for row in rows] == kinds
    assert float(rows[0]["mAP"]) == 40
    assert float(rows[4]["mAP"]) == pytest.approx(40 - 70.56) and rows[4]["rank5"] == ""


def test_networks_are_listed_with_what_they_cost(monkeypatch, capsys):
    rows = [("ognet", 1_951_738, 8_450_000_000, "1.95 M"), ("dgcnn", 1_366_144, 120_000_000_000, "")]
    monkeypatch.setattr("ogreid.models.summary.model_rows", lambda: rows)
    assert main(["--models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| ognet   |  1,951,738 |   8.45 | 1.95 M |"
    assert len({len(line) for line in lines}) == 1


def test_no_run_is_asked_for():
    with pytest.raises(InputError, match="which run"):
        main([])


def test_the_page_is_opened_when_asked(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run = make_run(tmp_path / "run")
    main([str(run), "--open"])
    assert opened == [(run / "report.html").resolve().as_uri()]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(InputError, match="its folder does not exist"):
        main([str(run), "--to", str(tmp_path / "nowhere" / "page.html")])
    with pytest.raises(InputError, match="no run"):
        main([str(tmp_path / "absent")])


def test_a_page_to_be_shown_around_leaves_people_out(tmp_path):
    run = make_run(tmp_path / "run")
    main([str(run), "--no-pictures", "--to", str(tmp_path / "shown.html")])
    main([str(run)])
    assert "data:image" not in (tmp_path / "shown.html").read_text()
    assert "data:image" in (run / "report.html").read_text()


def test_a_sweep_is_told_alone(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="give it alone"):
        main([str(tmp_path), str(make_run(tmp_path / "run"))])
    with pytest.raises(InputError, match=r"sweep\.json: not a whole sweep"):
        main([str(tmp_path)])
