"""The additions of docs/extending.md are made, word for word, in a copy of the repository, and used."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import write_tiny_store
from ogreid.data.datasets.readers import read_benchmark
from ogreid.runs import STAMP, Run
from ogreid.synthetic import make_domain

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(diff|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

QUICK = [
    "data.num_points=64",
    "data.batch_size=8",
    "data.eval_batch_size=8",
    "data.num_workers=0",
    "trainer.fast_dev_run=true",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.enable_progress_bar=false",
    "evaluation.scales=[1.0]",
    "wandb.mode=disabled",
]
NARROW = ["model.channels=[8,16]", "model.num_kept=[16,8]", "model.k=4", "ops.backend=plain"]


def section(title: str) -> list[tuple[str, str]]:
    """(kind, content) of the code blocks under a heading."""
    (text,) = (part for part in PAGE.split("\n## ")[1:] if part.startswith(f"{title}\n"))
    return BLOCK.findall(text)


def add(tree: Path, kind: str, content: str) -> str:
    """Apply one block to the tree; the name of the changed file."""
    first, body = content.split("\n", 1)
    name = first.removeprefix("--- ").removeprefix("# ")
    if kind != "diff":
        (tree / name).write_text(body, encoding="utf-8")
        return name
    text = (tree / name).read_text(encoding="utf-8")
    for hunk in body.split("@@\n")[1:]:
        lines = [(line[:1], f"{line[1:]}\n") for line in hunk.splitlines()]
        before = "".join(line for mark, line in lines if mark != "+")
        assert text.count(before) == 1, f"{name}: expected these lines once:\n{before}"
        text = text.replace(before, "".join(line for mark, line in lines if mark != "-"))
    (tree / name).write_text(text, encoding="utf-8")
    return name


@pytest.fixture
def extended(tmp_path):
    """Copies the repository and adds a section's blocks: the copy, and the names of the changed files."""

    def make(title: str) -> tuple[Path, set[str]]:
        tree = tmp_path / "tree"
        # The compiled kernels come along: numba knows them by the times of their sources.
        shutil.copytree(ROOT / "src", tree / "src")
        shutil.copytree(ROOT / "experiments", tree / "experiments")
        return tree, {add(tree, kind, content) for kind, content in section(title)}

    return make


@pytest.mark.parametrize("title", ["A data set", "A loss", "A network"])
def test_an_addition_changes_three_files_at_most_and_passes_ruff(extended, title):
    tree, changed = extended(title)
    assert "src/ogreid/registry.py" in changed and len(changed) <= 3
    sources = [name for name in changed if name.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        call(tree, "ruff", *check, "--quiet", "--config", str(ROOT / "pyproject.toml"), *sources)


def call(tree: Path, *command: str) -> None:
    """``python -m ...`` on the copy."""
    inherited = {name: value for name, value in os.environ.items() if name != STAMP}
    own = {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(
        [sys.executable, "-m", *command], cwd=tree, env=inherited | own, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, f"{process.stdout[-1000:]}\n{process.stderr[-3000:]}"


def only_run(tree: Path, experiment: str) -> Run:
    (folder,) = (tree / "runs" / experiment).iterdir()
    return Run(folder)


@pytest.mark.thorough
def test_the_data_set_of_the_page_is_packed_and_trained_on(extended):
    tree, _ = extended("A data set")
    crops = tree / "crops"
    make_domain("plaza", crops, identities=4)
    with (crops / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split", "identity", "camera"])
        writer.writerows([row.path, row.split, row.identity, row.camera] for row in read_benchmark("plaza", crops))
    call(tree, "ogreid.pack", "campus", "--root", str(crops), "--workers", "1")
    call(tree, "ogreid.fit", "--experiment", "campus", *QUICK, *NARROW, "data.transfer=[]", "data.batch_size=2")
    assert only_run(tree, "campus").summary()["retrieval"]["campus"]["queries"] > 0


@pytest.mark.thorough
def test_the_loss_of_the_page_trains(extended):
    tree, _ = extended("A loss")
    write_tiny_store(tree / "data" / "tiny")
    settings = ["loss.name=contrast", "loss.options.temperature=0.05", "data.train=[tiny]", "data.test=[tiny]"]
    settings += ["data.transfer=[]", "data.num_instances=2", "evaluation.baselines=[]"]
    settings += ["trainer.fast_dev_run=false", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
    call(tree, "ogreid.fit", "--experiment", "demo", *QUICK, *NARROW, *settings)
    with (only_run(tree, "demo").folder / "metrics.csv").open() as file:
        logged = [float(row["train/contrast"]) for row in csv.DictReader(file) if row["train/contrast"]]
    assert len(logged) == 2 and min(logged) > 0  # 16 clouds in batches of 8


@pytest.mark.thorough
def test_the_network_of_the_page_trains(extended):
    tree, _ = extended("A network")
    write_tiny_store(tree / "data" / "tiny")
    settings = ["model.name=pointnet", "model.embedding=256", "data.train=[tiny]", "data.test=[tiny]"]
    call(tree, "ogreid.fit", "--experiment", "market_circle", *QUICK, *settings, "data.transfer=[]")
    summary = only_run(tree, "market_circle").summary()
    assert summary["model"] == "pointnet"
    layers = sum(a * b + 3 * b for a, b in ((6, 64), (64, 128), (128, 256), (256, 512)))
    assert summary["parameters"] == layers + 1024 * 256 + 2 * 256
