"""What a command says that fails."""

import pytest

from ogreid.config import command_line
from ogreid.errors import nearest_names


def test_a_fault_of_ours_keeps_its_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.run(main, [])


def test_near_names_are_offered_and_far_ones_are_listed():
    assert nearest_names("markt", ["market", "duke"]) == "did you mean market?"
    assert nearest_names("zzz", ["market", "duke"]) == "known: duke, market"
