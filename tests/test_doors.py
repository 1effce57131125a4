"""How doors fail and leave."""

import subprocess
import sys

import pytest
from ogreid.config import command_line
from ogreid.errors import InputError, nearest_names


def _leave(monkeypatch, main, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["door", *argv])
    with pytest.raises(SystemExit) as left:
        command_line.run(main)
    return left.value.code


def test_a_users_mistake_is_one_line_and_status_two(monkeypatch, capsys):
    def main(argv):
        raise InputError("file x: came a, expected b, do c")

    assert _leave(monkeypatch, main) == 2
    assert capsys.readouterr().err == "error: file x: came a, expected b, do c\n"


def test_an_interruption_leaves_with_the_shells_own_status(monkeypatch, capsys):
    def main(argv):
        raise KeyboardInterrupt

    assert _leave(monkeypatch, main) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def main(argv):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["door"])
    with pytest.raises(ZeroDivisionError):
        command_line.run(main)


def test_the_command_line_reaches_the_door_and_its_status_the_shell(monkeypatch):
    assert _leave(monkeypatch, lambda argv: len(argv), "a", "b", "c") == 3


def test_argparse_complains_in_one_line():
    parser = command_line.Parser(prog="python -m ogreid.x")
    parser.add_argument("--number", type=int)
    with pytest.raises(InputError) as caught:
        parser.parse_args(["--number", "many"])
    assert str(caught.value) == ("argument --number: invalid int value: 'many'; `python -m ogreid.x --help` shows how")


def test_near_names_are_offered_and_far_ones_are_listed():
    assert nearest_names("markt", ["market", "duke"]) == "did you mean market?"
    assert nearest_names("zzz", ["market", "duke"]) == "known: duke, market"


def test_help_comes_without_the_heavy_imports():
    heavy = "{'torch', 'lightning', 'numba', 'scipy', 'wandb', 'PIL'}"
    code = "import sys; from ogreid.fit import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += f"sys.stderr.write(' '.join({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--experiment" in shown.stdout
    assert shown.stderr == ""
