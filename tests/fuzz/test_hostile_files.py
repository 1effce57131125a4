"""Files from strangers are accepted or refused in one line; nothing in them runs or leads elsewhere."""

import importlib.util
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutations import mutated
from fuzz.readers import READERS
from fuzz.watch import survives
from soak_record import record

SOAK = 10_000
GUIDED = Path(__file__).with_name("guided.py")


def lay_out(reader, folder):
    for name, content in reader.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def attempt(reader, folder, choose, name=None):
    """Change one file, read, and put it back."""
    name = name or reader.targets[choose(len(reader.targets))]
    content = mutated(reader.files[name], choose, reader.words)
    (folder / name).write_bytes(content)
    try:
        return survives(reader.read, folder, name)
    except BaseException:
        shutil.copy(folder / name, folder.parent / f"lost-{name.replace('/', '-')}")
        raise
    finally:
        (folder / name).write_bytes(reader.files[name])


@pytest.mark.parametrize("examples", [30, pytest.param(300, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", READERS)
def test_broken_files_are_accepted_or_refused_in_one_line(name, examples, tmp_path):
    reader, folder = READERS[name](), tmp_path / "files"
    lay_out(reader, folder)
    for target in reader.targets:
        assert survives(reader.read, folder, target), f"the unchanged {target} must be accepted"
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)
    @given(st.data())
    def search(data):
        attempt(reader, folder, lambda n: data.draw(st.integers(0, n - 1)))

    search()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_broken_files_are_accepted_or_refused_in_one_line(name, tmp_path):
    """Of every form where a reader takes several."""
    reader, folder = READERS[name](), tmp_path / "files"
    lay_out(reader, folder)
    accepted, targets = 0, reader.targets if reader.forms else (None,)
    for number in range(SOAK * len(targets)):
        drawn, target = random.Random(f"{name} {number}"), targets[number % len(targets)]
        try:  # repeats alone: attempt(reader, folder, drawn.randrange, target)
            accepted += attempt(reader, folder, drawn.randrange, target)
        except BaseException as error:
            record(f"hostile files: {name}", tried=number + 1, accepted=accepted, lost=1)
            raise AssertionError(f"{name}, file {number}: {type(error).__name__}: {error}") from error
    record(f"hostile files: {name}", tried=SOAK * len(targets), accepted=accepted, lost=0)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize(
    ("name", "files"),
    [
        *(pytest.param(name, 200, marks=pytest.mark.thorough) for name in ("experiments", "stores")),
        *(pytest.param(name, SOAK, marks=pytest.mark.slow) for name in READERS),
    ],
)
def test_a_search_guided_by_coverage_loses_no_file(name, files, tmp_path):
    """In a process of its own, which libFuzzer takes over."""
    command = [sys.executable, str(GUIDED), name, f"-runs={files}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    survived = done.returncode == 0 and f"Done {files} runs" in done.stderr
    if files == SOAK:
        record(f"guided by coverage: {name}", tried=SOAK, lost=int(not survived))
    assert survived, done.stderr[-3000:]
