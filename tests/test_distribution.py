"""The package as it is published: tested bounds, a build that is the same twice and works where it is installed."""

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


def test_every_lower_bound_is_the_version_that_make_minimum_tests():
    text = (REPOSITORY / "pyproject.toml").read_text()
    block = re.search(r"\ndependencies = \[\n(.*?)\n\]", text, re.DOTALL)
    bounds = {one.name: str(one.specifier) for one in map(Requirement, re.findall(r'"(.+?)"', block[1]))}
    lines = (REPOSITORY / "constraints-minimum.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert bounds == {name: f">={version}" for name, version in pinned.items()}


def build(copy: Path) -> dict[str, bytes]:
    for part in BUILT:
        source, target = REPOSITORY / part, copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", str(copy)], check=True, capture_output=True)
    return {file.name: file.read_bytes() for file in (copy / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, bytes]:
    return build(tmp_path_factory.mktemp("first"))


@pytest.mark.thorough
def test_a_build_is_the_same_twice(built, tmp_path):
    assert {Path(name).suffix for name in built} == {".whl", ".gz"}
    again = build(tmp_path)
    assert again.keys() == built.keys() and all(again[name] == content for name, content in built.items())


@pytest.fixture(scope="module", params=[".whl", ".tar.gz"])
def installed(request, built, tmp_path_factory) -> Path:
    """Programs of an environment into which pip put what was built; what ogreid needs is borrowed from this one."""
    place = tmp_path_factory.mktemp("installed")
    (name,) = [name for name in built if name.endswith(request.param)]
    (place / name).write_bytes(built[name])
    venv.create(place / "env", symlinks=True)
    site = sysconfig.get_path("purelib", "venv", {"base": str(place / "env")})
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not followed
    programs = place / "env" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", str(place / name)], check=True, capture_output=True)
    return programs


@pytest.mark.thorough
def test_what_is_installed_works_far_from_its_source(installed, tmp_path):
    """As a program and as a module, without a warning."""
    location = "import ogreid, sys; sys.exit(not ogreid.__file__.startswith(sys.prefix))"
    assert subprocess.run([installed / "python", "-c", location], cwd=tmp_path).returncode == 0
    outputs = {}
    for arguments, word in (
        ("--help", "evaluate"),
        ("fit --experiment market_circle --print-config", "circle"),
        ("sweep k --dry-run", "market_ce"),
        (f"export --published {REPOSITORY / 'tests/golden/ognet'} --to exported", "exported"),
    ):
        for start in ([installed / "ogreid"], [installed / "python", "-W", "error", "-m", "ogreid"]):
            shutil.rmtree(tmp_path / "exported", ignore_errors=True)
            done = subprocess.run([*start, *arguments.split()], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0 and word in done.stdout + done.stderr, done.stderr
            assert outputs.setdefault(arguments, done.stdout) == done.stdout


@pytest.mark.thorough
def test_the_wheel_holds_the_package_and_its_experiments_only(built):
    (wheel,) = [content for name, content in built.items() if name.endswith(".whl")]
    names = zipfile.ZipFile(io.BytesIO(wheel)).namelist()
    assert {name.partition("/")[0] for name in names} == {"ogreid", f"ogreid-{__version__}.dist-info"}
    assert {".pyc", ".nbc", ".nbi"}.isdisjoint(Path(name).suffix for name in names)
    files = [*(REPOSITORY / "experiments").rglob("*.yaml"), *(REPOSITORY / "src/ogreid").rglob("*.html")]
    assert {f"ogreid/{file.relative_to(REPOSITORY)}".replace("ogreid/src/", "") for file in files} <= set(names)
