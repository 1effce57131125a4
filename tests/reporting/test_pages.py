"""The report: everything that a run says is on the page, which needs nothing else; what is missing is left out."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fabricated import make_run
from ogreid.errors import InputError
from ogreid.reporting import read_run, write_report
from ogreid.reporting.results import named_runs

VOID = {"meta", "link", "img", "br", "input", "hr", "path", "circle", "rect"}
MINUS = "\N{MINUS SIGN}"


class Outline(HTMLParser):
    """Collects elements and refuses tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.parts = [], [], []

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
            self.parts.append(data)

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]

    @property
    def text(self):
        return " ".join(" ".join(self.parts).split())


def outline(page):
    read = Outline()
    read.feed(page.read_text())
    assert read.open == []
    return read


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "demo" / "20260101-120000-3"))


@pytest.fixture(scope="module")
def read(page):
    return outline(page)


def test_the_page_is_small_and_needs_nothing_outside_itself(page, read):
    for tag, attributes in read.elements:
        for key in ("src", "href", "action", "poster"):
            assert attributes.get(key, "data:").startswith(("data:", "#")), (tag, attributes[key])
    assert not re.search(r"@import|url\((?!data:|#)|https?://(?!www\.w3\.org)", page.read_text())
    assert page.stat().st_size < 600_000


def test_everything_about_the_run_is_on_the_page(page, read):
    shown = ["plaza-8", "held-out identities", "winter-8", "never trained on", "40.00", "60.00", "20.00", "10.00"]
    shown += ["4.0 \N{MULTIPLICATION SIGN} untrained (10.0), 2.5 \N{MULTIPLICATION SIGN} histogram (16.0)", "1.95 M"]
    shown += ["5 min 12 s", "0123456789ab", "name: ognet", f"ogreid.fit --experiment {page.parent}/experiment.yaml"]
    shown += [f"python -m ogreid.evaluate --checkpoint {page.parent} --on plaza-8 winter-8"]
    assert [text for text in shown if text not in read.text] == []
    assert read.all("td", "style") == ["--heat: 40%", "--heat: 20%"]


def test_every_curve_is_drawn_and_described(page, read):
    drawn = read.all("svg", "aria-label")
    assert len(drawn) == 5 + 2 and drawn[0].startswith("Cumulative matches (CMC).")
    assert "plaza-8: 10 at 1, 20 at 2, 30 at 3, 40 at 4; winter-8 (transfer): 5 at 1" in drawn[1]
    assert "untrained: 10" in drawn[1]
    for group, count in (("identity", 5), ("camera", 3)):
        groups = re.findall(rf"<title>{group} (\d)</title>", page.read_text())
        assert (len(groups), len(set(groups))) == (30, count)


def test_ranked_galleries_say_in_words_what_the_frames_say_in_color(read):
    listed = read.all("li", "title")
    assert len(listed) == 3 * 8  # the two empty places of each list are left out
    assert listed[0] == "rank 1, right, score 0.900, 0000_c2" and listed[1].startswith("rank 2, wrong")
    assert len(read.all("img", "alt")) == 3 * 9 and all(read.all("img", "alt"))


def test_the_cloud_on_the_page_is_the_one_of_the_run(page):
    match = re.search(r'data-name="plaza-8" data-count="(\d+)">([^<]+)<', page.read_text())
    count, packed = int(match[1]), base64.b64decode(match[2])
    stored = np.load(page.parent / "pictures" / "plaza-8-cloud.npz")
    positions = np.frombuffer(packed, "<i2", count * 3).reshape(-1, 3) / 32767 * np.abs(stored["xyz"]).max()
    np.testing.assert_allclose(positions, stored["xyz"], atol=1e-4)
    np.testing.assert_array_equal(np.frombuffer(packed, np.uint8, offset=count * 6).reshape(-1, 3), stored["rgb"])


def test_names_are_escaped(tmp_path):
    run = make_run(tmp_path / "run", name="'<script>alert(1)</script>'", train='"<b>"', pictures=False)
    assert not {"<script>alert", "<b>"} & set(re.findall("<script>alert|<b>(?=<|&)", write_report(run).read_text()))


def test_a_run_in_progress_has_a_page_without_results(tmp_path):
    read = outline(write_report(make_run(tmp_path / "run", summary=False, pictures=False)))
    assert "Run in progress" in read.text
    assert not [tag for tag, attributes in read.elements if tag == "canvas" or attributes.get("class") == "results"]


def test_the_papers_numbers_stand_beside_a_run_on_its_benchmark(tmp_path):
    text = outline(write_report(make_run(tmp_path / "run", train="market", transfer="duke"))).text
    shown = ["paper, Table II", "87.80", "70.56", "paper, Table III, released weights", "13.90", "ognet minus paper"]
    shown += [f"{MINUS}30.56", "+6.10"]  # 40 beside 70.56; 20 beside 13.9
    assert [one for one in shown if one not in text] == []


def test_the_mean_of_repetitions_is_compared_with_the_paper(tmp_path):
    runs = [make_run(tmp_path / f"demo/s{i}", train="market", level=40.0 + i, seed=i, pictures=False) for i in range(3)]
    text = outline(write_report(*runs, target=tmp_path / "all.html")).text
    assert text.count("paper, Table II") == text.count("minus paper") == 1
    assert f"{MINUS}29.56" in text and "None: these are repetitions." in text  # 41 beside 70.56
    assert "demo, mean of 3" in text and "41.00 \N{PLUS-MINUS SIGN} 1.00" in text and "untrained, mean of 3" in text


def test_several_runs_are_compared_with_what_they_share_once(tmp_path):
    runs = [make_run(tmp_path / f"demo/s{k}", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    runs.append(make_run(tmp_path / "demo/seed", k=8, level=40, seed=4, pictures=False))
    runs.append(make_run(tmp_path / "other/s0", train="winter-8", transfer="plaza-8", pictures=False))
    read = outline(write_report(*runs, target=tmp_path / "all.html"))
    assert all(text in read.text for text in ("4 runs", "model.k", "mAP on plaza-8", "demo, k=8, mean of 2"))
    assert "model.name" not in read.text and "mean of 1" not in read.text
    assert read.all("td", "style") == ["--heat: 40%", "--heat: 20%", "--heat: 20%", "--heat: 40%"]


def test_runs_of_one_name_in_two_places_are_two_runs(tmp_path):
    runs = [make_run(tmp_path / place / "s0", pictures=False) for place in ("here", "there")]
    runs.append(make_run(tmp_path / "here" / "s1", pictures=False))
    places = [f"s0 in {run.parent}" for run in runs[:2]]
    assert list(named_runs([*runs, runs[0]])) == [f"demo \N{MIDDLE DOT} {end}" for end in (*places, "s1")]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "summary"),
        ("summary.json", "[1]", "summary"),
        ("experiment.yaml", "a: [", "YAML"),
        ("experiment.yaml", "- a", "settings"),
        ("pictures/plaza-8-cloud.npz", "no archive", "pictures"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, content, message):
    run = make_run(tmp_path / "run")
    (run / file).write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        write_report(run)
    assert str(run / file) in str(refused.value) and not (run / "report.html").exists()


@pytest.mark.parametrize("key", ["xy", "identity"])
def test_a_map_of_other_things_than_numbers_is_refused(tmp_path, key):
    run = make_run(tmp_path / "run")
    path = run / "pictures" / "plaza-8-map.npz"
    arrays = dict(np.load(path))
    for broken in (np.array(["a"] * 30), np.full(arrays[key].shape, np.inf)):
        np.savez(path, **arrays | {key: broken})
        with pytest.raises(InputError, match="not a whole pictures file"):
            write_report(run)


def test_epochs_are_counted_by_the_last_evaluation(tmp_path):
    run = make_run(tmp_path / "run", pictures=False)
    curves = read_run(run).curves
    assert curves["val/plaza-8/mAP"] == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert curves["train/loss"][0] == (1 / 8, 5) and "step" not in curves
    (run / "metrics.csv").write_text("epoch,step,train/loss\n,,7\n0,9,nan\n0,19,3,more\nx,,\n")
    assert read_run(run).curves == {"train/loss": [(1, 3)]}


def test_a_long_run_stays_a_light_page(tmp_path):
    """1500 epochs of 360 steps, logged every tenth step and evaluated every tenth epoch."""
    run = make_run(tmp_path / "run", pictures=False)
    rows = ["epoch,step,train/loss,train/clouds_per_second,val/plaza-8/mAP,val/plaza-8/rank1"]
    for step in range(9, 1500 * 360, 10):
        evaluated = f"{step / 20000},{step / 15000}" if step % 3600 == 3599 else ","
        rows.append(f"{step // 360},{step},{5 / (1 + step)},70.5,{evaluated}")
    (run / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert write_report(run).stat().st_size < 300_000


@pytest.mark.parametrize("by", ["argument", "experiment"])
def test_a_page_without_people_keeps_its_numbers_and_its_map(tmp_path, by):
    run = make_run(tmp_path / "run")
    if by == "experiment":
        settings = (run / "experiment.yaml").read_text()
        (run / "experiment.yaml").write_text(f"{settings}runs: {{pictures: false}}\n")
    page = write_report(run, people=by == "experiment")
    read = outline(page)
    assert not {"img", "canvas"} & {tag for tag, _ in read.elements}
    assert "data:image" not in page.read_text() and "data-count" not in page.read_text()
    assert "plaza-8 by camera" in read.text and "40.00" in read.text


def test_a_sweep_is_shown_with_its_table_its_chart_and_its_runs(tmp_path):
    runs = [make_run(tmp_path / "runs" / "demo" / f"{k}-3", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    entries = [
        {
            "parameters": {"model.k": k},
            "folder": f"moved/demo/{k}-3",
            "status": "finished",
            "retrieval": {"plaza-8": {"mAP": 30.0 + k, "rank1": 50.0}},
            "transfer": {},
        }
        for k in (4, 8)
    ]
    entries.append(entries[0] | {"parameters": {"model.k": 16}, "status": "failed", "error": "out of <memory>"})
    content = {"name": "k", "description": "how many", "parameters": ["model.k"], "runs": entries}
    folder = tmp_path / "runs" / "sweeps" / "k"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(content))
    read = outline(write_report(folder))
    assert all(text in read.text for text in ("Sweep: k", "how many", "model.k=16: out of <memory>"))
    assert len(read.all("section", "id")) == 5
    assert read.all("svg", "aria-label")[0].startswith("k: mAP over model.k")
    assert all(f"--experiment {run}/experiment.yaml" in read.text for run in runs)
