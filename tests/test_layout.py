"""The layout holds: who may import whom, what files are called, and how long they may be."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ogreid.__main__ import COMMANDS

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "ogreid"
FILES = sorted(SOURCE.rglob("*.py"))

MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "registry": {"errors"},
    "config": {"errors", "files", "registry"},
    "ops": {"errors", "registry"},
    "models.layers": {"errors", "ops"},
    "losses": {"errors", "registry", "ops"},
    "models": {"errors", "files", "registry", "ops", "models.layers", "losses"},
    "retrieval": {"errors", "files"},
    "lifting": {"errors", "files"},
    "synthetic": {"errors", "files", "config", "lifting"},
    "data": {"errors", "files", "registry", "config", "lifting", "synthetic"},
    "runs": {"errors", "files", "config"},
    "reporting": {"errors", "files", "config", "runs", "retrieval", "data", "models"},
    "training": {
        *("errors", "files", "registry", "config", "ops", "losses", "models", "models.layers"),
        *("retrieval", "data", "runs", "reporting"),
    },
    "sweeps": {"errors", "files", "config", "runs", "reporting", "data"},
    "deployment": {"errors", "files", "models", "training"},
}
"""Every part that is no command, and the parts it may use, lowest first."""

NO_NAMES = {"told", "asked", "judged", "wanted", "sighting", "sightings", "door", "doors", "found", "held", "made"}

PARALLEL = {"__init__.py", "__main__.py", "module.py"}
"""Names that several folders share on purpose."""


def part_of(path: Path) -> str:
    names = path.relative_to(SOURCE).with_suffix("").parts
    if names[:2] == ("models", "layers"):
        return "models.layers"
    return "command" if names[-1] == "__main__" or names[0] in COMMANDS else names[0]


def imports(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ogreid":
            below = node.module.split(".")[1:]
            modules |= {".".join(below)} if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("ogreid.")]
            modules |= {name.removeprefix("ogreid.") for name in names}
    return {"models.layers" if one.startswith("models.layers") else one.split(".")[0] for one in modules}


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_part_imports_only_what_stands_below_it(part):
    inside = [path for path in FILES if part_of(path) == part]
    assert inside
    for path in inside:
        assert imports(path) <= MAY_IMPORT[part] | {part, "__version__"}, path


def test_every_part_has_its_place_in_the_order():
    parts = {part_of(path) for path in FILES} - {"command", "__init__"}
    assert parts == set(MAY_IMPORT)


def test_only_commands_stand_loose():
    loose = {path.stem for path in SOURCE.glob("*.py")}
    assert loose == {*COMMANDS, "__init__", "__main__", "errors", "files", "registry", "losses"}


def test_no_file_name_stands_twice_but_where_the_parallel_is_the_point():
    counts = Counter(path.name for path in FILES)
    assert {name for name, count in counts.items() if count > 1} <= PARALLEL


def test_a_module_never_shares_its_name_with_what_its_package_exports():
    for init in SOURCE.rglob("__init__.py"):
        modules = {path.stem for path in init.parent.glob("*.py")} | {one.name for one in init.parent.iterdir()}
        exported = re.search(r"__all__ = \[(.*?)\]", init.read_text(), re.DOTALL)
        names = set(re.findall(r'"(\w+)"', exported[1])) if exported else set()
        assert not names & modules, init


def names_in(path: Path) -> set[str]:
    """Every identifier that a file defines or uses."""
    nodes = [vars(node) for node in ast.walk(ast.parse(path.read_text()))]
    names = [node.get(kind) for node in nodes for kind in ("id", "arg", "attr", "name")]
    return {name.replace("NotFound", "") for name in names if isinstance(name, str)}  # FileNotFoundError is Python's


def test_names_are_the_field_s_own():
    """In the source no part of a name is a participle or an image; in the tests no whole name is."""
    for path in FILES:
        parts = {part for name in names_in(path) for part in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)}
        assert not {part.lower() for part in parts} & NO_NAMES, path
    for path in (REPOSITORY / "tests").rglob("*.py"):
        assert not names_in(path) & NO_NAMES, path


def test_no_file_is_longer_than_a_reader_wants():
    assert {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 350} == {}


def test_no_module_hides_behind_a_name_that_says_nothing():
    assert {p.stem for p in FILES}.isdisjoint({"utils", "util", "helpers", "helper", "common", "misc", "base"})


def test_no_module_of_one_operating_system_is_imported_at_the_top():
    pattern = re.compile(r"^(import|from) (fcntl|grp|msvcrt|pwd|resource|termios|winreg)\b", re.MULTILINE)
    assert [str(p) for p in FILES if pattern.search(p.read_text())] == []


def test_source_neither_prints_nor_hides_errors():
    pattern = re.compile(r"^\s*print\(|except:\s*$|except Exception:\s*pass", re.MULTILINE)
    assert [str(p) for p in FILES if pattern.search(p.read_text())] == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_answers_help_without_torch(command):
    code = f"import sys; from ogreid.{command} import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'lightning', 'optuna', 'matplotlib'} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert f"python -m ogreid.{command}" in shown.stdout


@pytest.mark.parametrize("start", [["-m", "ogreid"], ["-m", "ogreid.fit"]])
def test_the_program_and_the_module_are_the_same_command(start):
    word = [] if start[1] == "ogreid.fit" else ["fit"]
    command = [sys.executable, *start, *word, "--experiment", "demo", "--print-config"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert shown.returncode == 0 and shown.stdout.startswith("name: demo\n")


def test_an_unknown_command_gets_the_nearest_one():
    shown = subprocess.run([sys.executable, "-m", "ogreid", "evalute"], capture_output=True, text=True, check=False)
    assert shown.returncode == 2 and "evaluate" in shown.stderr and shown.stderr.count("\n") == 1
