"""The report: everything a run says is on the page, the page needs nothing else, and what is missing stays away."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fabricated import make_run
from ogreid.errors import InputError
from ogreid.reporting import write_comparison, write_report, write_sweep

VOID = {"meta", "link", "img", "br", "input", "hr", "path", "circle"}


class Outline(HTMLParser):
    """Collects elements and refuses tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def outline(page):
    read = Outline()
    read.feed(page.read_text())
    assert read.open == []
    return read


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "made" / "20260101-120000-3"))


@pytest.fixture(scope="module")
def read(page):
    return outline(page)


def test_the_page_asks_for_nothing_outside_itself(page, read):
    for tag, attributes in read.elements:
        for key in ("src", "href", "action", "poster"):
            assert attributes.get(key, "data:").startswith(("data:", "#")), (tag, attributes[key])
    assert not re.search(r"@import|url\((?!data:)|https?://(?!www\.w3\.org)", page.read_text())


def test_the_page_is_small(page):
    assert page.stat().st_size < 600_000


def test_numbers_baselines_and_transfer_are_in_the_table(read):
    text = " ".join(read.text)
    for shown in ("plaza-8", "held-out identities", "winter-8", "never trained on", "untrained", "histogram"):
        assert shown in text
    for value in ("40.00", "60.00", "20.00", "10.00", "16.00"):
        assert value in text
    assert "4.0 \N{MULTIPLICATION SIGN} untrained (10.0), 2.5 \N{MULTIPLICATION SIGN} histogram (16.0)" in text
    assert "1.95 M" in text
    assert "5 min 12 s" in text


def test_every_curve_is_drawn_and_described(read):
    drawn = [attributes["aria-label"] for tag, attributes in read.elements if tag == "svg"]
    assert len(drawn) == 5 + 2
    assert drawn[0].startswith("Found among the first k.")
    assert "plaza-8 40" in drawn[1]
    assert "winter-8 (transfer) 20" in drawn[1]
    assert "untrained 10" in drawn[1]


def test_ranked_galleries_say_in_words_what_the_frames_say_in_color(read):
    listed = [attributes["title"] for tag, attributes in read.elements if tag == "li" and "title" in attributes]
    assert len(listed) == 3 * 8  # the two empty places of each list stay away
    assert listed[0] == "rank 1, right, score 0.900, 0000_c2"
    assert listed[1].startswith("rank 2, wrong")
    pictures = [attributes for tag, attributes in read.elements if tag == "img"]
    assert all(attributes["alt"] for attributes in pictures)
    assert len(pictures) == 3 * 9


def test_embeddings_lie_on_a_map_by_identity_and_by_camera(page, read):
    text = " ".join(read.text)
    assert "plaza-8: 5 people, a color each" in text
    assert "camera 3" in text
    hues = re.findall(r'r="3.4" style="--hue: (\d+)"', page.read_text())
    assert (len(hues), len(set(hues[:30])), len(set(hues[30:]))) == (60, 5, 3)


def test_the_cloud_on_the_page_is_the_one_of_the_run(page):
    held = re.search(r'data-name="plaza-8" data-count="(\d+)">([^<]+)<', page.read_text())
    count, packed = int(held[1]), base64.b64decode(held[2])
    stored = np.load(page.parent / "pictures" / "plaza-8-cloud.npz")
    positions = np.frombuffer(packed, "<i2", count * 3).reshape(-1, 3) / 32767 * np.abs(stored["xyz"]).max()
    np.testing.assert_allclose(positions, stored["xyz"], atol=1e-4)
    np.testing.assert_array_equal(np.frombuffer(packed, np.uint8, offset=count * 6).reshape(-1, 3), stored["rgb"])


def test_the_page_says_how_to_repeat_the_run(read, page):
    text = "".join(read.text)
    assert f"python -m ogreid.fit --experiment {page.parent}/experiment.yaml" in text
    assert f"python -m ogreid.evaluate --checkpoint {page.parent} --on plaza-8 winter-8" in text
    assert "0123456789ab" in text
    assert "name: ognet" in text


def test_names_are_escaped(tmp_path):
    run = make_run(tmp_path / "run", name="'<script>alert(1)</script>'", train="plaza-8", pictures=False)
    assert "<script>alert" not in write_report(run).read_text()


def test_a_run_that_has_not_ended_has_a_page_without_results(tmp_path):
    read = outline(write_report(make_run(tmp_path / "run", summary=False, pictures=False)))
    assert "not come to its end" in "".join(read.text)
    assert not [tag for tag, attributes in read.elements if tag == "canvas" or attributes.get("class") == "results"]


def test_the_papers_numbers_stand_beside_a_run_on_its_benchmark(tmp_path):
    text = " ".join(outline(write_report(make_run(tmp_path / "run", train="market", transfer="duke"))).text)
    assert "paper, Table II" in text
    assert "87.80" in text
    assert "70.56" in text
    assert "paper, Table III, released weights" in text
    assert "13.90" in text
    assert "ognet minus paper" in text
    assert "\N{MINUS SIGN}30.56" in text  # 40 beside 70.56
    assert "+6.10" in text  # 20 beside 13.9


def test_the_mean_of_repetitions_is_what_stands_beside_the_paper(tmp_path):
    runs = [make_run(tmp_path / f"made/s{i}", train="market", level=40.0 + i, pictures=False) for i in range(3)]
    text = " ".join(outline(write_comparison(runs, tmp_path / "all.html")).text)
    assert text.count("paper, Table II") == 1
    assert text.count("minus paper") == 1 and "\N{MINUS SIGN}29.56" in text  # 41 beside 70.56


def test_one_run_shows_its_transfer_as_a_heat_map(tmp_path):
    read = outline(write_report(make_run(tmp_path / "run", pictures=False)))
    heat = [attributes["style"] for tag, attributes in read.elements if tag == "td" and "style" in attributes]
    assert heat == ["--heat: 40%", "--heat: 20%"]


def test_several_runs_are_compared_with_what_they_share_only_once(tmp_path):
    runs = [make_run(tmp_path / f"made/s{k}", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    runs.append(make_run(tmp_path / "other/s0", train="winter-8", transfer="plaza-8", pictures=False))
    read = outline(write_comparison(runs, tmp_path / "all.html"))
    text = " ".join(read.text)
    assert "model.k" in text
    assert "model.name" not in text
    assert "mAP on plaza-8" in text
    heat = [attributes["style"] for tag, attributes in read.elements if tag == "td" and "style" in attributes]
    assert heat == ["--heat: 38%", "--heat: 19%", "--heat: 20%", "--heat: 40%"]


def test_repetitions_have_a_mean_and_a_spread(tmp_path):
    runs = [make_run(tmp_path / f"made/s{i}", level=40.0 + 2 * i, pictures=False) for i in range(3)]
    runs.append(make_run(tmp_path / "made/other", k=4, level=90, pictures=False))
    text = " ".join(outline(write_comparison(runs, tmp_path / "all.html")).text)
    assert "made, k=8, mean of 3" in text
    assert "untrained, mean of 3" in text
    assert "42.00 \N{PLUS-MINUS SIGN} 2.00" in text
    assert "mean of 4" not in text
    assert "mean of 1" not in text


def test_repetitions_say_that_nothing_differs(tmp_path):
    runs = [make_run(tmp_path / f"made/s{i}", pictures=False) for i in range(2)]
    assert "these are repetitions" in write_comparison(runs, tmp_path / "all.html").read_text()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "summary.json: not whole JSON"),
        ("summary.json", "[]", "summary.json: expected an object"),
        ("experiment.yaml", "a: [", "experiment.yaml: not readable as YAML"),
        ("experiment.yaml", "- a", "experiment.yaml: expected the settings"),
        ("pictures/plaza-8-cloud.npz", "no archive", "plaza-8-cloud.npz: not a whole pictures file"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, content, message):
    run = make_run(tmp_path / "run")
    (run / file).write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        write_report(run)
    assert str(run / file) in str(refused.value)
    assert not (run / "report.html").exists()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run"):
        write_report(tmp_path)


def test_a_long_run_stays_a_light_page(tmp_path):
    """1500 epochs of 360 steps, logged every tenth step and judged every tenth epoch."""
    run = make_run(tmp_path / "run", pictures=False)
    rows = ["epoch,step,train/loss,train/clouds_per_second,val/plaza-8/mAP,val/plaza-8/rank1"]
    for step in range(9, 1500 * 360, 10):
        judged = f"{step / 20000},{step / 15000}" if step % 3600 == 3599 else ","
        rows.append(f"{step // 360},{step},{5 / (1 + step)},70.5,{judged}")
    (run / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert write_report(run).stat().st_size < 300_000


@pytest.mark.parametrize("how", ["asked", "the experiment says so"])
def test_a_page_without_people_keeps_its_numbers_and_its_map(tmp_path, how):
    run = make_run(tmp_path / "run")
    if how != "asked":
        settings = (run / "experiment.yaml").read_text()
        (run / "experiment.yaml").write_text(f"{settings}runs: {{pictures: false}}\n")
    page = write_report(run, people=how != "asked")
    read = outline(page)
    assert not {"img", "canvas"} & {tag for tag, _ in read.elements}
    assert "data:image" not in page.read_text() and "data-count" not in page.read_text()
    assert "plaza-8: 5 people, a color each" in " ".join(read.text) and "40.00" in " ".join(read.text)


def test_a_sweep_is_told_with_its_table_its_drawing_and_its_runs(tmp_path):
    runs = [make_run(tmp_path / "runs" / "made" / f"{k}-3", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    entries = [
        {
            "hash": str(k),
            "parameters": {"model.k": k},
            "experiment": "made",
            "folder": f"moved/made/{k}-3",
            "status": "finished",
            "error": None,
            "retrieval": {"plaza-8": {"mAP": 30.0 + k, "rank1": 50.0}},
            "transfer": {},
        }
        for k in (4, 8)
    ]
    entries.append(entries[0] | {"parameters": {"model.k": 16}, "status": "failed", "error": "out of memory"})
    told = {"name": "k", "description": "how many", "parameters": ["model.k"], "runs": entries}
    (tmp_path / "runs" / "sweeps" / "k").mkdir(parents=True)
    (tmp_path / "runs" / "sweeps" / "k" / "sweep.json").write_text(json.dumps(told))
    read = outline(write_sweep(tmp_path / "runs" / "sweeps" / "k"))
    text = " ".join(read.text)
    assert "Sweep: k" in text and "how many" in text and "out of memory" in text
    assert [tag for tag, attributes in read.elements if tag == "section"] == ["section"] * 5
    drawn = [attributes["aria-label"] for tag, attributes in read.elements if tag == "svg"]
    assert drawn[0].startswith("k: mAP over model.k")
    assert all(f"--experiment {run}/experiment.yaml" in text for run in runs)
