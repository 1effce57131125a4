"""What is given away: bounds that are tested, a build that is the same twice and works."""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ogreid import __version__

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


@pytest.fixture(scope="module", params=[".whl", ".tar.gz"])
def installed(request, built, tmp_path_factory) -> Path:
    """The Python of an environment in which pip put what was built; what ogreid needs is borrowed from this one."""
    place = tmp_path_factory.mktemp("installed")
    (name,) = [name for name in built if name.endswith(request.param)]
    (place / name).write_bytes(built[name])
    venv.create(place / "env", symlinks=True)
    python = place / "env" / "bin" / "python"
    site = sysconfig.get_path("purelib", "venv", {"base": str(place / "env")})
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not followed
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", str(place / name)], check=True, capture_output=True)
    return python


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("door", "said"),
    [
        ("fit --help", "--experiment"),
        ("fit --experiment market_circle --print-config", "circle"),
        ("sweep k --dry-run", "market_ce"),
        (f"export --published {REPOSITORY / 'tests/golden/ognet'} --to made", "made: released weights"),
    ],
)
def test_what_is_installed_works_far_from_its_source(installed, tmp_path, door, said):
    where = "import ogreid, sys; sys.exit(not ogreid.__file__.startswith(sys.prefix))"
    assert subprocess.run([installed, "-c", where], cwd=tmp_path).returncode == 0
    told = subprocess.run(
        [installed, "-W", "error", "-m", *f"ogreid.{door}".split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert said in told.stdout + told.stderr


@pytest.mark.thorough
def test_the_wheel_holds_the_package_and_its_experiments_only(built):
    (wheel,) = [held for name, held in built.items() if name.endswith(".whl")]
    names = zipfile.ZipFile(io.BytesIO(wheel)).namelist()
    assert {name.partition("/")[0] for name in names} == {"ogreid", f"ogreid-{__version__}.dist-info"}
    assert {".pyc", ".nbc", ".nbi"}.isdisjoint(Path(name).suffix for name in names)
    made = (REPOSITORY / "experiments").rglob("*.yaml")
    assert {f"ogreid/{file.relative_to(REPOSITORY)}" for file in made} <= set(names)
