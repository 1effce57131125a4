"""The layout holds: who may import whom, and how long a file may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "ogreid"

MAY_IMPORT = {
    "errors": set(),
    "batch": set(),
    "settings": set(),
    "allowed": {"errors"},
    "foreign": set(),
    "locks": {"errors"},
    "config": {"allowed", "errors", "foreign", "settings"},
    "processes": set(),
    "ops": {"errors", "processes"},
    "nn": {"errors", "ops", "processes"},
    "models": {"errors", "foreign", "ops", "nn", "losses"},
    "losses": {"errors", "processes"},
    "retrieval": {"errors"},
    "lifting": {"errors", "foreign"},
    "people": {"errors", "foreign", "lifting"},
    "data": {"errors", "batch", "config", "foreign", "lifting", "locks", "people"},
    "module": {"errors", "batch", "config", "models", "losses", "processes"},
    "callbacks": {"errors", "batch", "config", "data", "processes", "retrieval", "runs"},
}
"""Parts that are not doors, and the parts each may use; ``config`` and ``errors`` are plain data."""


def _part(path: Path) -> str:
    """The part a file belongs to; what a package does as a program (``__main__``) is a door."""
    return "door" if path.name == "__main__.py" else path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ogreid"):
            below = (node.module or "").split(".")[1:]
            found |= {below[0]} if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ogreid.")}
    return found


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_part_imports_only_what_stands_below_it(part):
    for path in SOURCE.rglob("*.py"):
        if _part(path) == part:
            assert _imports(path) <= MAY_IMPORT[part] | {part, "__version__"}, path


@pytest.mark.parametrize("part", ["src", "tests", "benchmarks", "scripts", "notebooks"])
def test_the_oldest_python_that_is_promised_reads_every_file(part):
    """Syntax only; `ast` refuses most of what later versions brought, exception groups and `type` among them."""
    said = re.search(r'requires-python = ">=3\.(\d+)', (REPOSITORY / "pyproject.toml").read_text())
    assert said is not None
    with pytest.raises(SyntaxError):
        ast.parse("type X = int", feature_version=(3, int(said[1])))
    for path in (REPOSITORY / part).rglob("*.py"):
        ast.parse(path.read_text(), filename=str(path), feature_version=(3, int(said[1])))


def test_no_file_is_longer_than_a_reader_wants():
    assert {str(p): n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 350} == {}


def test_no_module_hides_behind_a_name_that_says_nothing():
    names = {p.stem for p in SOURCE.rglob("*.py")}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "common", "misc", "base"})


def test_source_neither_prints_nor_hides_errors():
    guilty = re.compile(r"^\s*print\(|except:\s*$|except Exception:\s*pass", re.MULTILINE)
    assert [str(p) for p in SOURCE.rglob("*.py") if guilty.search(p.read_text())] == []


@pytest.mark.parametrize("door", ["fit", "evaluate", "pack", "repeat", "report", "search", "sweep"])
def test_a_door_answers_help_without_torch(door):
    code = f"import sys; from ogreid.{door} import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'lightning' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert f"python -m ogreid.{door}" in shown.stdout
