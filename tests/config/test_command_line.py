"""How commands fail and leave."""

import pytest

from ogreid.config import command_line
from ogreid.errors import InputError, nearest_names


def leave(main, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        command_line.run(main, arguments)
    return left.value.code


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("file x: got a, expected b"), 2, "error: file x: got a, expected b\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(capsys, error, status, line):
    def main(arguments):
        raise error

    assert leave(main) == status
    assert capsys.readouterr().err == line


def test_a_fault_of_ours_keeps_its_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.run(main, [])


def test_arguments_reach_the_command_and_its_status_the_shell():
    assert leave(len, "a", "b", "c") == 3


def test_near_names_are_offered_and_far_ones_are_listed():
    assert nearest_names("markt", ["market", "duke"]) == "did you mean market?"
    assert nearest_names("zzz", ["market", "duke"]) == "known: duke, market"
