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


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]()


def lay_out(reader, folder, changed=None):
    """The reader's files in ``folder``, those of ``changed`` instead of its own."""
    for name, content in {**reader.files, **(changed or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def attempt(reader, folder, choose):
    """Change one file, read, and put it back."""
    name = reader.targets[choose(len(reader.targets))]
    content = mutated(reader.files[name], choose, reader.words)
    (folder / name).write_bytes(content)
    try:
        return survives(reader.read, folder, name)
    except BaseException:
        shutil.copy(folder / name, folder.parent / f"lost-{name.replace('/', '-')}")
        raise
    finally:
        (folder / name).write_bytes(reader.files[name])


def hypothesised(reader, folder, examples):
    lay_out(reader, folder)
    for name in reader.targets:
        assert survives(reader.read, folder, name), f"the unchanged {name} must be accepted"
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)
    @given(st.data())
    def search(data):
        attempt(reader, folder, lambda n: data.draw(st.integers(0, n - 1)))

    search()


def test_dozens_of_broken_files_are_accepted_or_refused_in_one_line(reader, tmp_path):
    hypothesised(reader, tmp_path / "files", 30)


@pytest.mark.thorough
def test_hundreds_of_broken_files_are_accepted_or_refused_in_one_line(reader, tmp_path):
    hypothesised(reader, tmp_path / "files", 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_broken_files_are_accepted_or_refused_in_one_line(name, tmp_path):
    reader, folder = READERS[name](), tmp_path / "files"
    lay_out(reader, folder)
    accepted = 0
    for number in range(SOAK):
        drawn = random.Random(f"{name} {number}")  # repeats alone: attempt(reader, folder, drawn.randrange)
        try:
            accepted += attempt(reader, folder, drawn.randrange)
        except BaseException as error:
            record(f"hostile files: {name}", tried=number + 1, accepted=accepted, lost=1)
            raise AssertionError(f"{name}, file {number}: {type(error).__name__}: {error}") from error
    record(f"hostile files: {name}", tried=SOAK, accepted=accepted, lost=0)


def guided(name, files, folder):
    """How libFuzzer ended, in a process of its own, which it takes over."""
    command = [sys.executable, str(GUIDED), name, f"-runs={files}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0 and f"Done {files} runs" in done.stderr, done.stderr[-3000:]


with_atheris = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")


@with_atheris
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["experiments", "stores"])
def test_a_search_guided_by_coverage_finds_no_file_that_is_lost(name, tmp_path):
    survived, output = guided(name, 200, tmp_path)
    assert survived, output


@with_atheris
@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_long_search_guided_by_coverage_finds_no_file_that_is_lost(name, tmp_path):
    survived, output = guided(name, SOAK, tmp_path)
    record(f"guided by coverage: {name}", tried=SOAK, lost=int(not survived))
    assert survived, output
