"""What the documents say holds: links lead somewhere, commands parse, experiments and numbers are the real ones."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ogreid import config
from ogreid.config.constraints import CHOICES
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.models.summary import count_parameters

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md"), *ROOT.glob("notebooks/*.py")]
)
DOORS = {path.stem for path in (ROOT / "src" / "ogreid").glob("*.py") if "def parser(" in path.read_text()}
NAMES = config.experiment_names(ROOT)
MADE_UP = {"campus", "mine"}
"""Experiments that a page itself writes."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """The text of a page without its blocks of code; of a notebook, its remarks."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        return "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub derives them from headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


def commands(page: Path) -> list[str]:
    """Every ``python -m ogreid.X ...`` of a page, in blocks and in running text, on one line each."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) for line in block.split("\n")]
    told = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", told)]
    return [f"ogreid.{one.split('-m ogreid.', 1)[1]}" for one in [*lines, *spans] if "-m ogreid." in one]


def words(command: str) -> list[str]:
    """As a shell splits it, up to what is none of the command's business."""
    split = shlex.split(re.sub(r"[\[\]]", "", command), comments=True)
    end = next((i for i, word in enumerate(split) if word in (">", ">>", "|", "&&", ";")), len(split))
    return [word for word in split[:end] if word not in ("...", "group.key=value")]


@each_page
def test_every_command_is_one_that_its_door_takes(page):
    for command in commands(page):
        door, *given = words(command)
        name = door.removeprefix("ogreid.")
        assert name in DOORS, f"{page.name}: {command}"
        parser = importlib.import_module(door).parser()
        if given in ([], ["--help"]):  # a door by its name
            continue
        try:
            asked = parser.parse_intermixed_args(given) if name in ("fit", "sweep") else parser.parse_args(given)
        except InputError as error:
            # Running text may name an option of a door without what else the door needs.
            if not str(error).startswith(("the following arguments are required", "one of the arguments")):
                raise
            assert {word for word in given if word.startswith("--")} <= set(parser.format_help().split())
            continue
        experiment = getattr(asked, "experiment", None)
        if name == "fit" and experiment not in (None, "NAME", *MADE_UP):
            # A page may teach settings that its own additions bring.
            known = [] if page.name == "extending.md" else asked.overrides
            config.load(experiment, known, start=ROOT)


@each_page
def test_every_file_that_a_page_shows_is_one_that_composes(page, tmp_path):
    blocks = re.findall(r"^```yaml\n# (experiments/\S+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    for name, content in blocks:
        shipped, written = ROOT / name, tmp_path / name
        if shipped.is_file():
            assert OmegaConf.create(content) == OmegaConf.load(shipped), f"{page.name}: {name} has changed"
        else:
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(content)
            config.load(written.stem, start=tmp_path)


@each_page
def test_every_experiment_that_is_named_exists(page):
    named = re.findall(r"`((?:market|duke|cuhk|msmt)_[a-z0-9_]+)`", page.read_text(encoding="utf-8"))
    assert set(named) - {"cuhk_labeled", "cuhk_detected"} <= {*NAMES}


@each_page
def test_every_target_of_make_exists(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8"))) <= {*targets}


@each_page
def test_every_script_that_is_called_exists(page):
    text = page.read_text(encoding="utf-8")
    assert all((ROOT / name).is_file() for name in re.findall(r"python ((?:scripts|benchmarks)/\w+\.py)", text))
    modules = re.findall(r"python -m (benchmarks\.\w+)", text)
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)


def test_the_page_of_networks_has_the_exact_counts():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d ]+) \|", text, re.MULTILINE))
    assert set(rows) == set(CHOICES["model.name"])
    counted = {name: count_parameters(build_model(name)) for name in rows}
    assert {name: int(told.replace(" ", "")) for name, told in rows.items()} == counted


def test_a_notebook_is_in_the_index_and_a_page_too():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    notebooks = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {name for name in pages | notebooks if f"{name})" not in index} == set()


def test_what_is_wrong_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("See [there](nowhere.md), `python -m ogreid.fit --experment demo`.\n")
    with pytest.raises(AssertionError, match=r"nowhere\.md"):
        test_every_relative_link_leads_somewhere(page)
    with pytest.raises(InputError, match="--experment"):
        test_every_command_is_one_that_its_door_takes(page)
    page.write_text("```sh\npython -m ogreid.fit --experiment demo \\\n  model.kk=8   # typed badly\n```\n")
    with pytest.raises(InputError, match=r"did you mean model\.k or"):
        test_every_command_is_one_that_its_door_takes(page)
