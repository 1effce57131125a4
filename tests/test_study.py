"""The study: its experiments run, its sweeps share what they can, its page says what was found and nothing else."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

import study
import study_page
import study_tables
import study_untrained
from ogreid import config, fit, pack, runs
from ogreid.sweeps.file import points, read_sweep_file
from ogreid.sweeps.jobs import jobs_for

HERE = Path(__file__).parents[1]
NAMES = [name for name in config.experiment_names(HERE) if name.startswith("study/")]
FILES = sorted((HERE / "experiments" / "study" / "sweeps").glob("*.yaml"))
KINDS = ["ognet", "deep", "dgcnn", "pointnet2_ssg", "pointnet2_msg", "shufflenetv2", "mobilenetv2", "image", "visible"]
DOMAINS = list(study_tables.DOMAINS)
DASH = "\N{EN DASH}"
PAGE = HERE / "docs" / "study.md"


@cache
def jobs(path):
    """The runs of one seed."""
    sweep = read_sweep_file(path)
    return jobs_for(sweep, [point for point in points(sweep) if point["seed"] == 0], [])


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_of_the_study_composes(name):
    own = config.load(name, start=HERE)
    size = own.name.split("_")[0]
    known = {*study.STORES[size], f"{study.STORES[size][0]}-visible"}
    assert {*own.data.train, *own.data.test, *own.data.transfer} <= known
    assert own.data.train == own.data.test
    assert own.data.num_points == int(study.POINTS[size])


@pytest.mark.parametrize("size", study.STORES)
def test_every_sweep_of_a_size_is_part_of_its_run(size):
    assert {path.stem for path in FILES if path.stem.startswith(size)} == {
        f"{size}_{name}" for name in study.SWEPT[size]
    }
    assert all(Path(command[1]).is_file() for command in study.training(size, 2))


def test_commands_side_by_side_are_one_entry_of_the_cost_with_the_processor_time_of_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study.results("quick").mkdir(parents=True)
    study.call([["json.tool", "--help"], ["calendar", "2026", "1"]], "quick", at_once=2)
    with pytest.raises(SystemExit) as left:
        study.call([["json.tool", "absent.json"]], "quick")
    both, failed = json.loads((study.results("quick") / "cost.json").read_text())
    assert both["command"] == ["json.tool", "2 commands, 2 at once"]
    assert both["processor"] > 0 and both["status"] == 0
    assert failed["command"] == ["json.tool", "absent.json"] and failed["status"] == left.value.code != 0


@pytest.mark.thorough
def test_no_network_asks_for_more_neighbors_than_its_last_graph_has_points():
    for path in FILES:
        for job in jobs(path):
            model = job.experiment.model
            if model.name.startswith("ognet") and model.num_kept and model.k:
                reduces = model.channels is None or model.channels[-1] != model.channels[-2]
                assert model.k <= model.num_kept[-2 if reduces else -1], (path, job.parameters)


@pytest.mark.thorough
def test_rows_of_one_table_get_the_same_number_of_epochs():
    for path in FILES:
        assert len({job.experiment.trainer.max_epochs for job in jobs(path)}) == 1, path


@pytest.mark.thorough
@pytest.mark.parametrize("size", study.STORES)
def test_tables_share_the_runs_of_the_base_network(size):
    def folders(name):
        return {job.run.folder for job in jobs(study.SWEEPS / f"{size}_{name}.yaml")}

    for name in ("table3", "table4", "figure7", "figure8"):
        assert len(folders("table2_ce") & folders(name)) == 1, name
    assert len(folders("table2_ce") & folders("table1")) == 1
    assert len(folders("table2_ce") & folders("table5")) == 1


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with the smallest store of every domain."""
    made = tmp_path_factory.mktemp("study")
    for domain in DOMAINS:
        assert pack.main([f"{domain}-4", "--data", str(made), "--workers", "1"]) == 0
    visible = ["--data", str(made), "--workers", "1", "--no-background", "--name", "plaza-4-visible"]
    assert pack.main(["plaza-4", *visible]) == 0
    return made


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [f"quick_{kind}" for kind in [*KINDS, "half", "no_gate"]] + ["full_deep", "full_visible"]
)
def test_an_experiment_of_the_study_runs(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.STAMP, raising=False)
    data = config.load(f"study/{name}", start=HERE).data
    stores = {key: [_smallest(store) for store in getattr(data, key)] for key in ("train", "retrieval", "transfer")}
    settings = [f"data.{key}=[{','.join(names)}]" for key, names in stores.items()]
    settings += [f"data.root={root}", "data.num_points=1024", "data.batch_size=2", "data.eval_batch_size=2", "data.num_workers=0"]
    settings += ["trainer.fast_dev_run=true", "trainer.enable_progress_bar=false", "wandb.mode=disabled"]
    assert fit.main(["--experiment", str(HERE / "experiments" / "study" / f"{name}.yaml"), *settings]) == 0
    (summary,) = (tmp_path / "runs" / name).glob("*/summary.json")
    found = json.loads(summary.read_text())
    assert set(found["retrieval"]) == set(stores["retrieval"])
    assert set(found["transfer"]) == set(stores["transfer"])


@pytest.mark.thorough
def test_an_untrained_network_is_laid_beside_chance(root, monkeypatch):
    monkeypatch.chdir(HERE)
    settings = [
        "data.train=[plaza-4]",
        "data.test=[plaza-4]",
        f"data.root={root}",
        "data.batch_size=4",
        "data.num_points=256",
    ]
    line = study_untrained.told("quick_small", [*settings, "data.num_instances=2"])
    found = re.fullmatch(r"quick_small: untrained mAP (.*) \(chance (.*)\); gradient / weight: (.*)", line)
    assert 0 < float(found[1]) <= 100 and 0 < float(found[2]) <= 100
    parts = [part.split() for part in found[3].split(", ")]
    assert [name for name, _ in parts] == ["stages.0", "stages.3"]
    assert all(float(ratio) > 0 for _, ratio in parts)


def _smallest(store):
    return "-".join([store.split("-")[0], "4", *store.split("-")[2:]])


def test_a_difference_is_a_finding_only_beyond_two_standard_errors():
    assert study_tables.verdict([30.0, 31.0, 32.0], [20.0, 21.0, 22.0]) == "holds"
    assert study_tables.verdict([20.0, 21.0, 22.0], [30.0, 31.0, 32.0]) == "**does not hold**"
    # Means 1 apart, each with a standard deviation of 1: the standard error of the difference is 0.82.
    assert study_tables.verdict([30.0, 31.0, 32.0], [29.0, 30.0, 31.0]) == "within the spread"


def told(**changes):
    """What a study of two seeds would have found; mAP 10 and 12 wherever ``changes`` gives a network nothing else."""
    networks = ["ognet", "position_graph", "no_gate", "small", "image", "visible", "deep", "deep_no_residual"]
    networks += ["dgcnn", "pointnet2_ssg", "pointnet2_msg", "shufflenetv2", "mobilenetv2"]
    wanted = [(name, "ce", 8, "plaza") for name in networks] + [("ognet", "circle", 8, "plaza")]
    wanted = [("ognet", "ce", k, "plaza") for k in (1, 32)] + wanted
    wanted += [(name, "ce", 8, on) for name in ("ognet", "pointnet2_msg", "shufflenetv2") for on in DOMAINS[1:]]
    made = []
    for network, loss, k, train in wanted:
        for seed, value in enumerate(changes.get(network, (10.0, 12.0))):
            numbers = {domain: {"mAP": value, "rank1": 2 * value} for domain in DOMAINS}
            run = {
                "network": network,
                "loss": loss,
                "k": k,
                "train": train,
                "seed": seed,
                "parameters": 400_000 if k == 8 else 300_000,
                "epochs": 5,
                "git": "abc",
            }
            made.append(run | {"numbers": numbers})
    made += [run | {"epochs": 20} for run in made if run["network"] == "dgcnn"]
    return {
        "size": "quick",
        "k": 8,
        "epochs": 5,
        "runs": made,
        "histogram": {domain: {"mAP": 5.0, "rank1": 9.0} for domain in DOMAINS},
        "densities": [{"trained": 0.5, "seed": seed, "mAP": [[0.25, 7.0 + seed], [0.5, 9.0]]} for seed in (0, 1)],
        "cost": [{"command": ["ogreid.sweep", "x"], "wall": 120.0, "processor": 180.0, "status": 0}],
    }


def test_a_table_shows_the_mean_and_the_standard_deviation_of_the_seeds():
    made = study_tables.blocks(told(dgcnn=(50.0, 52.0)))
    assert f"| DGCNN | CE | 0.40 | 102.0 ± 2.8 | 51.0 ± 1.4 |{f' {DASH} |' * 6}" in made["quick table2"]
    assert "| OG-Net | CE | 0.40 |" in made["quick table2"]  # of the base network, not of the one without graph
    assert "| OG-Net | CE + Circle | 0.40 |" in made["quick table2"]
    assert "| trained with 50 % | 7.5 ± 0.7 | 9.0 ± 0.0 |" in made["quick figure8"]
    assert made["quick longer"].endswith("| DGCNN | 51.0 ± 1.4 | 51.0 ± 1.4 |")
    assert "| together | 2.0 | 3.0 |" in made["quick cost"]
    assert made["quick made"].endswith(" runs, trained at revision abc.")


def test_table_two_has_the_numbers_of_every_domain_on_which_a_network_was_trained():
    made = study_tables.blocks(told(shufflenetv2=(8.0, 8.0)))["quick table2"]
    heads, *rows = made.splitlines()
    assert heads.removesuffix(" |").split(" | ")[3:] == [head for on in DOMAINS for head in (f"{on} rank-1", "mAP")]
    assert f"| ShuffleNetV2 | CE | 0.40 |{' 16.0 ± 0.0 | 8.0 ± 0.0 |' * 4}" in rows
    assert f"| color histogram | untrained | 0 |{' 9.0 | 5.0 |' * 4}" in rows


def test_a_claim_is_asked_on_every_domain_beside_what_the_paper_found_there():
    claims = study_tables.blocks(told(shufflenetv2=(8.0, 9.0)))["quick claims"]
    # Table II of the paper on DukeMTMC-reID: 57.92 beside 39.36 and 48.09.
    assert "| OG-Net above PointNet++ MSG on winter (Table II) | +18.6 | +0.0 ± 1.4 | within the spread |" in claims
    assert "| OG-Net above ShuffleNetV2 on winter (Table II) | +9.8 | +2.5 ± 1.1 | holds |" in claims
    assert claims.count(" on winter ") == claims.count(" on transit ") == claims.count(" on platform ") == 2


def test_the_claims_are_held_against_the_best_rival():
    claims = study_tables.blocks(told(pointnet2_ssg=(60.0, 61.0)))["quick claims"]
    assert "here PointNet++ SSG (Table II) | +21.8 | -49.5 ± 1.1 | **does not hold** |" in claims
    assert "| the graph helps (Table IV) | +3.8 | +0.0 ± 1.4 | within the spread |" in claims


def test_the_figures_show_every_point():
    drawn = study_tables.drawings(told())
    assert set(drawn) == {"quick_k", "quick_density"}
    assert all(f">{k}</text>" in drawn["quick_k"].picture() for k in (1, 8, 32))


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="0 places for quick table1"):
        study_page.fill("# Study\n", {"quick table1": "| a |"})


@pytest.mark.parametrize("kept", sorted((HERE / "docs" / "study").glob("*.json")), ids=lambda path: path.stem)
def test_the_page_holds_exactly_the_collected_numbers(kept):
    collected, page = json.loads(kept.read_text()), PAGE.read_text()
    again = f"python scripts/study_page.py {kept.stem} --collected"
    assert study_page.fill(page, study_tables.blocks(collected)) == page, again
    for name, drawing in study_tables.drawings(collected).items():
        assert (HERE / "docs" / "pictures" / f"study_{name}.svg").read_text() == drawing.picture(), again
