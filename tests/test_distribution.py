"""What is given away: bounds that are tested, a build that is the same twice and works."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
BUILT = ("src", "experiments", "tests/golden", "README.md", "LICENSE", "pyproject.toml")


def _direct() -> list[Requirement]:
    text = (REPOSITORY / "pyproject.toml").read_text()
    block = re.search(r"\ndependencies = \[\n(.*?)\n\]", text, re.DOTALL)
    assert block is not None
    return [Requirement(line.strip().strip(",").strip('"')) for line in block[1].splitlines()]


def test_every_lower_bound_is_the_version_that_make_minimum_tests():
    lines = (REPOSITORY / "constraints-minimum.txt").read_text().splitlines()
    tested = {line.partition("==")[0]: line.partition("==")[2] for line in lines if "==" in line}
    assert {one.name: str(one.specifier) for one in _direct()} == {name: f">={v}" for name, v in tested.items()}


def _build(copy: Path) -> dict[str, bytes]:
    for part in BUILT:
        source, target = REPOSITORY / part, copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=leave) if source.is_dir() else shutil.copy(source, target)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", str(copy)], check=True, capture_output=True)
    return {file.name: file.read_bytes() for file in (copy / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, bytes]:
    return _build(tmp_path_factory.mktemp("first"))


@pytest.mark.thorough
def test_a_build_is_the_same_twice(built, tmp_path):
    again = _build(tmp_path)
    assert {name: hashlib.sha256(held).hexdigest() for name, held in built.items()} == {
        name: hashlib.sha256(held).hexdigest() for name, held in again.items()
    }
    assert {Path(name).suffix for name in built} == {".whl", ".gz"}


@pytest.mark.thorough
def test_the_wheel_alone_composes_experiments_and_lists_its_networks(built, tmp_path):
    (wheel,) = [name for name in built if name.endswith(".whl")]
    (tmp_path / wheel).write_bytes(built[wheel])
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import ogreid, runpy; "
    code += f"assert ogreid.__file__.startswith({str(tmp_path)!r}), ogreid.__file__; "
    for asked in ("ogreid.fit --experiment market_circle --print-config", "ogreid.report --models"):
        door = f"sys.argv = {asked.split()!r}; runpy.run_module(sys.argv[0], run_name='__main__')"
        told = subprocess.run([sys.executable, "-P", "-c", code + door], cwd=tmp_path, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        assert "ognet" in told.stdout
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        assert not [name for name in archive.namelist() if name.startswith(("tests", "benchmarks", "notebooks"))]
