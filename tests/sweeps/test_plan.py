"""Sweep files: what they stand for, in W&B's order and by W&B's own engine, and how wrong ones are refused."""

import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from scipy import stats

from ogreid import config, fit, sweep
from ogreid.errors import InputError
from ogreid.sweeps.plan import Plan, find_sweep, fingerprint, parse_parameter
from sweeping_files import TINY, write_sweep

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))
EVERY = sorted((ROOT / "experiments").rglob("sweeps/*.yaml"))


@pytest.fixture(scope="module")
def engine():
    """W&B's sweep engine, installed without its old numpy."""
    with warnings.catch_warnings():
        # wandb/sweeps 0.3.0 configures pydantic the old way.
        warnings.simplefilter("ignore")
        return pytest.importorskip("sweeps", reason="pip install --no-deps sweeps==0.3.0")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with two experiments."""
    (tmp_path / "experiments" / "sweeps").mkdir(parents=True)
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    (tmp_path / "experiments" / "other.yaml").write_text("extends: tiny\nmodel: {k: 1}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(path):
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def drawn(plan):
    return [job.parameters for job in plan.jobs]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_every_sweep_file_is_valid_in_wandbs_own_schema(path, engine):
    from sweeps.config.cfg import schema_violations_from_proposed_config

    assert schema_violations_from_proposed_config(plain(path)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_wandbs_agent_starts_the_runs_that_we_start(path, engine, monkeypatch, capsys):
    """Its engine's grid, its expansion of the command, fit's own reading: the same experiments in the same order."""
    from sweeps.grid_search import grid_search_next_runs
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    monkeypatch.chdir(ROOT)
    content, ours = plain(path), Plan(path).jobs
    theirs = [run for run in grid_search_next_runs([], content, n=1000) if run is not None]
    assert len(theirs) == len(ours)
    for run, job in list(zip(theirs, ours, strict=True))[:: max(1, len(ours) // 3)]:
        macros = create_sweep_command_args({"args": run.config})
        words = [macros.get(word[2:-1], [word]) if word.startswith("${") else [word] for word in content["command"]]
        command = create_sweep_command(list(itertools.chain(*words)))
        assert command[:4] == ["${env}", "python", "-m", "ogreid.fit"]
        assert fit.main([*command[4:], "--print-config"]) == 0
        printed = OmegaConf.to_container(OmegaConf.create(capsys.readouterr().out))
        assert fingerprint(config.from_dict(printed)) == fingerprint(job.experiment)


def test_the_grid_is_wandbs_own_with_keys_in_alphabetical_order_and_the_last_one_fastest(place, engine):
    from sweeps.grid_search import grid_search_next_runs

    text = "{seed: {values: [2, 0]}, model.k: {min: 3, max: 5}, data.num_points: {value: 64}}"
    path = write_sweep(place / "s.yaml", text)
    theirs = [run.config for run in grid_search_next_runs([], plain(path), n=100) if run is not None]
    assert drawn(Plan(path)) == [{key: one["value"] for key, one in run.items()} for run in theirs]
    assert [(one["model.k"], one["seed"]) for one in drawn(Plan(path, limit=3))] == [(3, 2), (3, 0), (4, 2)]


LOG = {"min": 1e-4, "max": 1e-1}
SPECS = {
    "by its limits": {"min": 0.5, "max": 2.0},
    "by whole limits": {"min": 2, "max": 9},
    "q_uniform": {"min": 0.0, "max": 1.0, "q": 0.125},
    "log_uniform_values": LOG,
    "inv_log_uniform_values": LOG,
    "log_uniform": {key: math.log(value) for key, value in LOG.items()},
    "normal": {"mu": 3.0, "sigma": 0.5},
    "log_normal": {"mu": 1.0, "sigma": 0.5},
    "beta": {"a": 2.0, "b": 5.0},
}


@pytest.mark.parametrize("name", SPECS)
def test_draws_follow_wandbs_distributions(name, engine):
    from sweeps.params import HyperParameter

    spec = SPECS[name] | ({} if name.startswith("by ") else {"distribution": name})
    parameter, study = parse_parameter(spec), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ours = [parameter.value(study.ask({"x": parameter.distribution}).params["x"]) for _ in range(600)]
    known = HyperParameter("x", dict(spec))
    theirs = np.array([float(known.ppf(float(u))) for u in (np.arange(600) + 0.5) / 600])
    # Two samples of 600 of one distribution are less than 0.094 apart in 99 of 100 cases.
    assert stats.ks_2samp(ours, theirs).statistic < 0.094


def test_a_random_search_depends_on_its_seed_alone_and_draws_values_with_their_probabilities(place):
    parameter = parse_parameter({"values": ["a", "b"], "probabilities": [0.9, 0.1]})
    assert [parameter.value(p) for p in (0.01, 0.89, 0.91)] == ["a", "a", "b"]
    path = write_sweep(place / "s.yaml", "{optimizer.lr: {min: 0.0, max: 1.0}}", method="random")
    assert drawn(Plan(path, limit=5))[:3] == drawn(Plan(path, limit=3))
    assert drawn(Plan(path, limit=3)) != drawn(Plan(path, limit=3, seed=1))


HEAD = """\
method: {method}
command: [ogreid.fit, --experiment, tiny, "${{args_no_hyphens}}"]
parameters: {parameters}
"""
GRID = HEAD.format(method="grid", parameters="{model.k: {values: [1]}}")
PARAMETERS = {
    "{model.k: 8}": "parameters.model.k: expected {values: [...]}",
    "{model: {parameters: {k: {values: [1]}}}}": "unknown key 'parameters'",
    "{model.k: {values: []}}": "at least one value",
    "{model.k: {values: [1, null]}}": "null",
    "{model.k: {vals: [3]}}": "did you mean values or value",
    "{model.k: {distribution: normale}}": "did you mean normal",
    "{model.k: {max: 3}}": "needs 'min'",
    "{model.k: {min: 4, max: 3}}": "low",
    "{model.k: {min: low, max: 3}}": "'low'",
    "{optimizer.lr: {min: 0.1, max: 0.2}}": "a grid cannot hold uniform",
    "{model.k: {min: 1, max: 1000000}}": "values",
    "{model.k: {min: 1, max: 1000}, seed: {min: 1, max: 1000}}": "--count",
    "{experiment: {values: [tiny]}}": "experiment",
    "{model.kk: {values: [1, 4]}}": "did you mean model.k",
    "{trainer.num_nodes: {values: [2]}}": "num_nodes",
}
RANDOM = {
    "{optimizer.lr: {distribution: log_uniform_values, min: 0, max: 1}}": "low > 0",
    "{model.k: {values: [1, 2], probabilities: [0.5]}}": "probabilities",
    "{model.k: {values: [1]}}": "--count",
}
TEXTS = {
    "method: grid\nparameter: {}": "did you mean parameters",
    "method: bayesian\nparameters: {a: {values: [1]}}": "bayesian",
    "method: grid": "no parameters",
    "method: random\nrun_cap: many\nparameters: {a: {value: 1}}": "run_cap",
    "method: bayes\nparameters: {a: {value: 1}}": "metric",
    f"{GRID}early_terminate: {{type: median}}": "metric",
    f"{GRID}metric: {{name: a, goal: minimize}}\nearly_terminate: {{type: hyperband}}": "min_iter",
    "method: grid\nparameters: {a: {values: [1]}}\nprogram: train.py": "ogreid.fit",
    GRID.replace("--experiment", "--resume"): "command: expected",
    GRID.replace("--experiment, tiny, ", ""): "experiment",
    "- 1": "expected a sweep",
    "a: [": "ParserError",
    **{HEAD.format(method="grid", parameters=parameters): keyword for parameters, keyword in PARAMETERS.items()},
    **{HEAD.format(method="random", parameters=parameters): keyword for parameters, keyword in RANDOM.items()},
}


@pytest.mark.parametrize(("text", "keyword"), TEXTS.items())
def test_what_cannot_run_is_refused_in_one_line_before_anything_runs(place, text, keyword):
    (place / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=r"s.yaml: ") as caught:
        Plan("s.yaml")
    assert keyword in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_is_looked_up_and_a_wrong_one_answered(place):
    path = write_sweep(place / "experiments" / "sweeps" / "mine.yaml", "{model.k: {values: [1]}}")
    assert find_sweep("mine").resolve() == path
    assert "sweeps/mine" not in config.experiment_names()
    with pytest.raises(InputError, match="did you mean mine"):
        find_sweep("mien")


def test_settings_that_their_field_declares_free_distinguish_no_runs(place):
    base = config.load("tiny")
    for same in ("data.root=elsewhere", "data.num_workers=2", "data.resident=true", "wandb.group=x", "description=new"):
        assert fingerprint(config.load("tiny", [same])) == fingerprint(base), same
    for other in ("seed=1", "model.k=5", "data.num_points=32", "trainer.max_epochs=3", "trainer.max_steps=3"):
        assert fingerprint(config.load("tiny", [other])) != fingerprint(base), other
    path = write_sweep(place / "s.yaml", "{data.resident: {values: [false, true]}, seed: {values: [0, 0, 1]}}")
    assert [job.parameters["seed"] for job in Plan(path).jobs] == [0, 1]


def test_a_run_whose_settings_are_not_what_its_name_says_is_refused(place):
    """A default that was changed since would make another run of the same name."""
    (job,) = Plan(write_sweep(place / "s.yaml", "{seed: {value: 0}}")).jobs
    job.run.folder.mkdir(parents=True)
    (job.run.folder / "experiment.yaml").write_text(config.to_yaml(config.load("tiny", ["loss.margin=0.5"])))
    with pytest.raises(InputError, match="move it away"):
        Plan("s.yaml")


def test_whole_experiments_can_be_swept(place):
    path = write_sweep(place / "s.yaml", "{experiment: {values: [tiny, other]}, seed: {value: 3}}", experiment=None)
    first, second = Plan(path).jobs
    assert [(job.experiment.name, job.experiment.model.k) for job in (first, second)] == [("tiny", 4), ("other", 1)]
    assert first.run.folder == Path("runs/tiny") / f"{fingerprint(first.experiment)}-3"
    assert {job.experiment.wandb.group for job in (first, second)} == {"s"}


def test_settings_of_the_command_line_take_the_place_of_the_files(place):
    path = write_sweep(place / "s.yaml", "{model.k: {values: [1, 4]}, trainer.max_epochs: {value: 9}}")
    (job,) = Plan(path, "other", ["trainer.max_epochs=1", "model.k=6", "wandb.group=mine"]).jobs
    assert (job.experiment.name, job.experiment.model.k, job.experiment.trainer["max_epochs"]) == ("other", 6, 1)
    assert job.experiment.wandb.group == "mine"


def test_what_would_run_is_printed_without_running_it(place, capsys):
    path = write_sweep(place / "s.yaml", "{model.k: {values: [1, 4]}, seed: {values: [0, 1]}}")
    assert sweep.main([str(path), "--dry-run", "--count", "3", "data.num_points=32"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    expected = ["model.k=1 seed=0", "model.k=1 seed=1", "model.k=4 seed=0"]
    assert [" ".join(line.split()[1:3]) for line in lines] == expected
    assert last.startswith("3 runs") and not Path("runs").exists()
    with pytest.raises(InputError, match="--count"):
        sweep.main([str(path), "--count", "0"])
