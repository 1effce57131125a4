"""The contact sheet and its door."""

from pathlib import Path

import pytest
from PIL import Image

from ogreid.errors import InputError
from ogreid.synthetic.__main__ import main
from ogreid.synthetic.sheet import GAP


def test_a_sheet_shows_all_domains(tmp_path: Path) -> None:
    target = tmp_path / "pictures/sheet.png"
    assert main(["--contact-sheet", str(target), "--people", "2", "--cameras", "1"]) == 0
    with Image.open(target) as sheet:
        assert sheet.size == (2 * 2 * 64 + GAP, 2 * 128 + GAP)


@pytest.mark.parametrize("wrong", [["--contact-sheet", "x.jpg"], ["--contact-sheet", "x.png", "--people", "0"], []])
def test_a_wrong_request_is_one_line(wrong: list[str]) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        main(wrong)
