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
from sweeping_files import make_sweep

MINUS = "\N{MINUS SIGN}"


class Outline(HTMLParser):
    """Collects elements and text, and refuses tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(page.read_text())
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        self.open += [tag] if tag not in ("meta", "link", "img", "br") else []

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data}" if self.open and self.open[-1] not in ("script", "style") else ""

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "demo" / "20260101-120000-3"))


@pytest.fixture(scope="module")
def read(page):
    return Outline(page)


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
    assert read.all("td", "style") == [f"--heat: {value}%" for value in (40, 20, 31, 47, 5, 6)]


def test_verification_is_a_table_charts_and_the_hardest_pairs(page, read):
    numbers = json.loads((page.parent / "summary.json").read_text())["verification"]["plaza-8"]
    low, high = numbers["interval"]["0.001"]
    texts = [f"{numbers['eer']:.2f}", f"{numbers['threshold']['0.001']:.4f}", f"{low:.4f} to {high:.4f}"]
    texts += [
        "two people 0.910 query/<b>0000</b>.jpg, identity 1, camera 1",
        "one person 0.310",
        "mAP in percent on plaza-8",
    ]
    assert [text for text in texts if text not in read.text] == []
    labels = [label for label in read.all("svg", "aria-label") if label.startswith(("Verification", "Scores"))]
    assert len(labels) == 2 and read.all("img", "alt").count("gallery/0000_c2.jpg") >= 1


def test_every_curve_is_drawn_and_described(page, read):
    drawn = read.all("svg", "aria-label")
    assert len(drawn) == 5 + 2 + 2 and drawn[0].startswith("Cumulative matches (CMC).")
    assert "plaza-8: 10 at 1, 20 at 2, 30 at 3, 40 at 4; winter-8 (transfer): 5 at 1" in drawn[3]
    assert "untrained: 10" in drawn[3]
    for group, count in (("identity", 5), ("camera", 3)):
        groups = re.findall(rf"<title>{group} (\d)</title>", page.read_text())
        assert (len(groups), len(set(groups))) == (30, count)


def test_ranked_galleries_say_in_words_what_the_frames_say_in_color(read):
    listed = read.all("li", "title")
    assert len(listed) == 3 * 8  # the two empty places of each list are left out
    assert listed[0] == "rank 1, right, score 0.900, 0000_c2" and listed[1].startswith("rank 2, wrong")
    assert len(read.all("img", "alt")) == 3 * 9 + 4 * 2 and all(read.all("img", "alt"))


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
    page = write_report(make_run(tmp_path / "run", summary=False, pictures=False))
    assert "Run in progress" in Outline(page).text and not re.search('<canvas|class="results"', page.read_text())


def test_the_mean_of_repetitions_is_compared_with_the_paper(tmp_path):
    runs = [make_run(tmp_path / f"demo/s{i}", train="market", level=40.0 + i, seed=i, pictures=False) for i in range(3)]
    text = Outline(write_report(*runs, target=tmp_path / "all.html")).text
    assert text.count("paper, Table II") == text.count("minus paper") == 1
    assert f"{MINUS}29.56" in text and "None: these are repetitions." in text  # 41 beside 70.56
    assert "demo, mean of 3" in text and "41.00 \N{PLUS-MINUS SIGN} 1.00" in text and "untrained, mean of 3" in text


def test_several_runs_are_compared_with_what_they_share_once(tmp_path):
    runs = [make_run(tmp_path / f"demo/s{k}", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    runs.append(make_run(tmp_path / "demo/seed", k=8, level=40, seed=4, pictures=False))
    runs.append(make_run(tmp_path / "other/s0", train="winter-8", transfer="plaza-8", pictures=False))
    read = Outline(write_report(*runs, target=tmp_path / "all.html"))
    assert all(text in read.text for text in ("4 runs", "model.k", "mAP on plaza-8", "demo, k=8, mean of 2"))
    assert "model.name" not in read.text and "mean of 1" not in read.text
    assert read.all("td", "style") == ["--heat: 40%", "--heat: 20%", "--heat: 20%", "--heat: 40%"]


def test_runs_of_one_name_in_two_places_are_two_runs(tmp_path):
    runs = [make_run(tmp_path / place / "s0", pictures=False) for place in ("here", "there")]
    runs.append(make_run(tmp_path / "here" / "s1", pictures=False))
    places = [f"s0 in {run.parent}" for run in runs[:2]]
    assert list(named_runs([*runs, runs[0]])) == [f"demo \N{MIDDLE DOT} {end}" for end in (*places, "s1")]


@pytest.mark.parametrize(
    "file", ["summary.json", "experiment.yaml", "pictures/plaza-8-cloud.npz", "pictures/plaza-8-pairs.npz"]
)
@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_file_is_named(tmp_path, file, content):
    run = make_run(tmp_path / "run")
    (run / file).write_text(content)
    with pytest.raises(InputError, match=re.escape(str(run / file))):
        write_report(run)
    assert not (run / "report.html").exists()


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


@pytest.mark.parametrize("by", ["argument", "experiment"])
def test_a_page_without_people_keeps_its_numbers_and_its_map(tmp_path, by):
    run = make_run(tmp_path / "run")
    if by == "experiment":
        with (run / "experiment.yaml").open("a") as file:
            file.write("runs: {pictures: false}\n")
    page = write_report(run, people=by == "experiment")
    assert not any(sign in page.read_text() for sign in ("data:image", "data-count", "<img", "<canvas"))
    kept = ("plaza-8 by camera", "40.00", "query/<b>0000</b>.jpg")
    assert all(text in Outline(page).text for text in kept)


def test_a_sweep_is_shown_with_its_table_its_chart_and_its_runs(tmp_path):
    runs = [make_run(tmp_path / "runs/demo" / f"{k}-3", k=k, level=30 + k, pictures=False) for k in (4, 8)]
    rows = [{"model.k": k, "level": 30.0 + k} for k in (4, 8)] + [{"model.k": 16, "error": "out of <memory>"}]
    folder = make_sweep(tmp_path / "runs/sweeps/k", rows, name="k")
    content = json.loads((folder / "sweep.json").read_text())
    for k, entry in zip((4, 8), content["runs"], strict=False):
        entry["folder"] = f"moved/demo/{k}-3"
    (folder / "sweep.json").write_text(json.dumps(content | {"description": "how many"}))
    read = Outline(write_report(folder))
    assert all(text in read.text for text in ("Sweep: k", "how many", "model.k=16: out of <memory>"))
    assert len(read.all("section", "id")) == 5
    assert read.all("svg", "aria-label")[0].startswith("k: mAP over model.k")
    assert all(f"--experiment {run}/experiment.yaml" in read.text for run in runs)


def test_runs_that_differ_in_their_loggers_and_the_seed_are_repetitions(tmp_path):
    runs = [make_run(tmp_path / f"s{seed}", seed=seed, pictures=False) for seed in (0, 1)]
    with (runs[0] / "experiment.yaml").open("a") as file:
        file.write("logger: [csv]\nwandb: {group: k}\n")
    text = Outline(write_report(*runs, target=tmp_path / "page.html")).text
    assert "mean of 2" in text and "None: these are repetitions." in text
