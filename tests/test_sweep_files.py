"""Sweep files: what they stand for, in W&B's order and by W&B's own engine, and how wrong ones are refused."""

import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats

from ogreid import config, fit, runs
from ogreid.errors import InputError
from ogreid.sweeps.draws import draw
from ogreid.sweeps.file import find_sweep, points, read_sweep_file, sweep_names
from ogreid.sweeps.jobs import fingerprint, jobs_for
from sweeping_files import TINY, write_sweep

HERE = Path(__file__).parent
SHIPPED = sorted((HERE.parent / "experiments" / "sweeps").glob("*.yaml"))
EVERY = sorted((HERE.parent / "experiments").rglob("sweeps/*.yaml"))


@pytest.fixture(scope="module")
def engine():
    """W&B's sweep engine, installed without its old numpy."""
    with warnings.catch_warnings():
        # wandb/sweeps 0.3.0 configures pydantic the old way.
        warnings.simplefilter("ignore")
        return pytest.importorskip("sweeps", reason="pip install --no-deps sweeps==0.3.0")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with one experiment."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    (tmp_path / "experiments" / "other.yaml").write_text("extends: tiny\nmodel: {k: 1}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(path: Path) -> dict:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def test_the_shipped_sweeps_are_those_that_are_promised():
    names = {"k", "density", "k_by_density", "ablation", "inputs", "models", "loss"}
    assert names <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_every_sweep_file_is_valid_in_wandbs_own_schema(path, engine):
    from sweeps.config.cfg import schema_violations_from_proposed_config

    assert schema_violations_from_proposed_config(plain(path)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_wandbs_agent_starts_the_runs_that_the_local_door_starts(path, engine, monkeypatch, capsys):
    """Its engine's grid, its expansion of the command, fit's own reading: the same experiments in the same order."""
    from sweeps.grid_search import grid_search_next_runs
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    monkeypatch.chdir(HERE)
    held, sweep = plain(path), read_sweep_file(path)
    theirs = [run for run in grid_search_next_runs([], held, n=1000) if run is not None]
    ours = jobs_for(sweep, points(sweep), ())
    assert len(theirs) == len(ours)
    for run, job in list(zip(theirs, ours, strict=True))[:: max(1, len(ours) // 3)]:
        macros = create_sweep_command_args({"args": run.config})
        words = [macros.get(word[2:-1], [word]) if word.startswith("${") else [word] for word in held["command"]]
        command = create_sweep_command(list(itertools.chain(*words)))
        assert command[:4] == ["${env}", "python", "-m", "ogreid.fit"]
        assert fit.main([*command[4:], "--print-config"]) == 0
        printed = OmegaConf.to_container(OmegaConf.create(capsys.readouterr().out))
        assert fingerprint(config.from_dict(printed)) == job.hash


def test_the_grid_is_wandbs_own(tmp_path, engine):
    from sweeps.grid_search import grid_search_next_runs

    text = "{seed: {values: [2, 0]}, model.k: {min: 3, max: 5}, data.num_points: {value: 64}, a: {values: [x, y]}}"
    path = write_sweep(tmp_path / "s.yaml", text)
    theirs = [run.config for run in grid_search_next_runs([], plain(path), n=100) if run is not None]
    assert points(read_sweep_file(path)) == [{key: one["value"] for key, one in run.items()} for run in theirs]


def test_keys_are_alphabetical_and_the_last_one_is_the_fastest(tmp_path):
    path = write_sweep(tmp_path / "s.yaml", "{seed: {values: [1, 0]}, model.k: {values: [8, 4]}}")
    grid = [(one["model.k"], one["seed"]) for one in points(read_sweep_file(path))]
    assert grid == [(8, 1), (8, 0), (4, 1), (4, 0)]
    assert [one["model.k"] for one in points(read_sweep_file(path), 3)] == [8, 8, 4]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"min": 0.5, "max": 2.0}, "uniform"),
        ({"min": 2, "max": 9}, "int_uniform"),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.125}, "uniform"),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}, "log"),
        ({"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 1e-1}, "log"),
        ({"distribution": "log_uniform", "min": math.log(1e-4), "max": math.log(1e-1)}, "log"),
        ({"distribution": "normal", "mu": 3.0, "sigma": 0.5}, "normal"),
        ({"distribution": "log_normal", "mu": 1.0, "sigma": 0.5}, "log_normal"),
        ({"distribution": "beta", "a": 2.0, "b": 5.0}, "beta"),
    ],
    ids=lambda value: value.get("distribution", "by its limits") if isinstance(value, dict) else "",
)
def test_draws_follow_wandbs_distributions(spec, name, engine):
    from sweeps.params import HyperParameter

    rng = np.random.default_rng(0)
    drawn = np.array([draw(spec, rng) for _ in range(600)])
    known = HyperParameter("x", dict(spec))
    theirs = np.array([float(known.ppf(float(u))) for u in (np.arange(600) + 0.5) / 600])
    # Two samples of 600 of one distribution are less than 0.094 apart in 99 of 100 cases.
    assert stats.ks_2samp(drawn, theirs).statistic < 0.094


def test_values_are_drawn_with_their_probabilities():
    rng = np.random.default_rng(0)
    drawn = [draw({"values": ["a", "b"], "probabilities": [0.9, 0.1]}, rng) for _ in range(500)]
    assert 0.8 < drawn.count("a") / 500 < 0.97


def test_a_random_search_is_longer_by_more_runs_and_other_by_another_seed(tmp_path):
    sweep = read_sweep_file(write_sweep(tmp_path / "s.yaml", "{x: {min: 0.0, max: 1.0}}", method="random"))
    assert points(sweep, 5)[:3] == points(sweep, 3)
    assert points(sweep, 3) != points(sweep, 3, seed=1)
    with pytest.raises(InputError, match="a random search has no end; say how many runs: --count N"):
        points(sweep)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("method: grid\nparameters: {}", "unknown key 'parameters'; did you mean parameters"),
        ("method: bayes\nparameters: {a: {values: [1]}}", "method bayes: grid and random run here"),
        ("method: grid", "no parameters; expected for example"),
        ("method: random\nrun_cap: many\nparameters: {a: {value: 1}}", "run_cap 'many'; expected a number of runs"),
        ("- 1", "expected a sweep"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, told):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"s.yaml: ") as caught:
        read_sweep_file(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("{model.k: 8}", "parameters.model.k: expected {values: [...]}"),
        ("{model: {parameters: {k: {values: [1]}}}}", "nested parameters are not settings; write model.KEY"),
        ("{model.k: {values: []}}", "values must be a list with at least one value"),
        ("{model.k: {values: [1, null]}}", "null cannot be handed to an experiment"),
        ("{model.k: {distribution: normale}}", "distribution normale: did you mean normal"),
        ("{model.k: {distribution: log_uniform_values}}", "log_uniform_values needs min and max"),
        ("{model.k: {distribution: categorical}}", "distribution categorical: needs values"),
        ("{model.k: {max: 3}}", "give value, values, min and max, or a distribution"),
        ("{model.k: {min: 3, max: 3}}", "min 3 is not below max 3"),
        ("{model.k: {vals: [3]}}", "unknown key 'vals'; did you mean values or value"),
        ("{model.k: {min: low, max: 3}}", "min 'low': expected a number"),
        ("{optimizer.lr: {distribution: log_uniform_values, min: 0, max: 1}}", "a logarithm needs limits above 0"),
        ("{model.k: {values: [1, 2], probabilities: [0.5]}}", "probabilities must be one per value"),
        ("{experiment: {values: [tiny]}}", "two experiments, in the command and in parameters"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_name(tmp_path, parameters, told):
    with pytest.raises(InputError) as caught:
        read_sweep_file(write_sweep(tmp_path / "s.yaml", parameters))
    assert told in str(caught.value)


def test_a_grid_without_end_is_refused(tmp_path):
    path = write_sweep(tmp_path / "s.yaml", "{optimizer.lr: {min: 0.1, max: 0.2}}")
    with pytest.raises(InputError, match=r"a grid cannot hold uniform; list its values, or take method: random"):
        points(read_sweep_file(path))


def test_only_fit_is_swept_and_it_needs_an_experiment(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("method: grid\nprogram: train.py\nparameters: {a: {values: [1]}}\n")
    with pytest.raises(InputError, match=r"only ogreid.fit is swept here; expected command:"):
        read_sweep_file(path)
    with pytest.raises(InputError, match="no experiment; expected command:"):
        read_sweep_file(write_sweep(path, "{model.k: {values: [1]}}", experiment=None))


def test_a_name_is_looked_up_and_a_wrong_one_answered(place):
    (place / "experiments" / "sweeps").mkdir()
    path = write_sweep(place / "experiments" / "sweeps" / "mine.yaml", "{model.k: {values: [1]}}")
    assert find_sweep("mine").resolve() == path
    assert "mine" in sweep_names()
    assert "sweeps/mine" not in config.experiment_names()
    with pytest.raises(InputError, match=r"no sweep file mien; give a .yaml file, or a name: did you mean mine"):
        find_sweep("mien")


def test_equal_settings_are_one_run_whatever_does_not_change_its_numbers(place):
    base = config.load("tiny")
    for same in ("data.root=elsewhere", "data.num_workers=2", "wandb.group=x", "runs.pictures=true", "description=new"):
        assert fingerprint(config.load("tiny", [same])) == fingerprint(base)
    for other in ("seed=1", "model.k=5", "data.num_points=32", "trainer.max_epochs=3", "loss.name=ce"):
        assert fingerprint(config.load("tiny", [other])) != fingerprint(base)
    sweep = read_sweep_file(
        write_sweep(place / "s.yaml", "{data.num_workers: {values: [0, 1]}, seed: {values: [0, 0, 1]}}")
    )
    jobs = jobs_for(sweep, points(sweep), ())
    assert [job.parameters["seed"] for job in jobs] == [0, 1]


def test_whole_experiments_can_be_swept(place):
    path = write_sweep(place / "s.yaml", "{experiment: {values: [tiny, other]}, seed: {value: 3}}", experiment=None)
    sweep = read_sweep_file(path)
    jobs = jobs_for(sweep, points(sweep), ())
    assert [(job.experiment.name, job.experiment.model.k, job.experiment.seed) for job in jobs] == [
        ("tiny", 4, 3),
        ("other", 1, 3),
    ]
    assert jobs[0].run.folder == Path("runs/tiny") / f"{jobs[0].hash}-3"


def test_a_persons_own_settings_take_the_place_of_the_files(place):
    path = write_sweep(place / "s.yaml", "{model.k: {values: [1, 4]}, trainer.max_epochs: {value: 9}}")
    own = ["trainer.max_epochs=1", "model.k=6", "wandb.group=mine"]
    sweep = read_sweep_file(path).pinned("other", own)
    (job,) = jobs_for(sweep, points(sweep), own)
    assert (job.experiment.name, job.experiment.model.k, job.experiment.trainer.max_epochs) == ("other", 6, 1)
    assert job.experiment.wandb.group == "mine"


def test_runs_of_a_sweep_are_one_group_in_wandb(place):
    sweep = read_sweep_file(write_sweep(place / "swept.yaml", "{model.k: {values: [1, 4]}}"))
    assert {job.experiment.wandb.group for job in jobs_for(sweep, points(sweep), ())} == {"swept"}


def test_a_wrong_setting_is_found_before_anything_runs(place):
    sweep = read_sweep_file(write_sweep(place / "s.yaml", "{model.kk: {values: [1, 4]}}"))
    with pytest.raises(InputError, match=r"s.yaml: 'model.kk=1': unknown key 'model.kk'; did you mean model.k"):
        jobs_for(sweep, points(sweep), ())


def test_a_run_on_several_devices_is_refused(place):
    sweep = read_sweep_file(write_sweep(place / "s.yaml", "{model.k: {values: [1]}}"))
    with pytest.raises(InputError, match=r"each run here has one device .* wandb agent runs such sweeps"):
        jobs_for(sweep, points(sweep), ["trainer.devices=2"])


def test_fit_takes_its_experiment_as_a_setting_too(place, capsys, monkeypatch):
    monkeypatch.delenv(runs.STAMP, raising=False)
    assert fit.main(["experiment=other", "seed=4", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "name: other" in shown
    assert "seed: 4" in shown
    with pytest.raises(InputError, match="two experiments: tiny, other; name one"):
        fit.main(["--experiment", "tiny", "experiment=other"])
