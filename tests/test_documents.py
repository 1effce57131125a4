"""What the documents say is true: links resolve, commands parse, YAML composes, Python runs, numbers are real."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ogreid import config
from ogreid.__main__ import COMMANDS
from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.models.summary import count_parameters
from ogreid.registry import MODELS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("[!C]*.md"), *DOCS.rglob("*.md"), *ROOT.glob("src/**/*.md"), *ROOT.glob("notebooks/*.py")])
PAGES.append(ROOT / "CONTRIBUTING.md")  # but not the changelog, which names what is gone
BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN = {"campus", "mine"}  # experiments that pages write
SUBSTITUTIONS = {  # so that the blocks of the pages run here, in seconds
    '"market"': '"plaza-4"',
    '"winter-40"': '"winter-4"',
    "data/market": "data/plaza-4",
    "batch_size=36, num_points=4096": "batch_size=4, num_points=64, num_workers=0",
    '("ognet", loss': '("ognet", model_options={"channels": [8, 16], "num_kept": [16, 8], "k": 4}, loss',
    "max_epochs=60": 'max_epochs=1, accelerator="cpu"',
    '"last.ckpt"': "trainer.checkpoint_callback.best_model_path",
    "DOWNLOADED/FOLDER": str(ROOT / "tests" / "golden" / "ognet"),
}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def blocks(page, kind):
    """The code blocks of a page that are not marked as not run."""
    return [code for mark, tag, code in BLOCK.findall(page.read_text(encoding="utf-8")) if tag == kind and not mark]


def prose(page):
    """The text of a page without code blocks; of a notebook, its Markdown cells."""
    text = page.read_text(encoding="utf-8")
    return BLOCK.sub("", text) if page.suffix == ".md" else "\n".join(re.findall(r"^# (.*)$", text, re.MULTILINE))


def commands(page):
    """The words of every ``python -m ogreid.X ...`` of a page, in blocks and in running text, up to a pipe."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").split("\n")
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]
    for line in (one for one in [*lines, *spans] if "-m ogreid." in one):
        words = shlex.split(re.sub(r"[\[\]]|(>|\||&&|;) .*", "", line.split("-m ogreid.", 1)[1]), comments=True)
        yield [word for word in words if word not in ("...", "group.key=value")]


@each_page
def test_every_relative_link_resolves(page):
    for target in re.findall(r"\]\(\s*(?!https?://)([^)\s]+)\)", prose(page)):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name}: {target}"
        headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}  # as GitHub's
        assert not anchor or anchor in anchors, f"{page.name}: {target}"


@each_page
def test_every_command_parses(page):
    for name, *words in commands(page):
        assert name in COMMANDS, f"{page.name}: {name}"
        parser = importlib.import_module(f"ogreid.{name}").parser()
        if words in ([], ["--help"]):
            continue
        try:
            options = (parser.parse_intermixed_args if name in ("fit", "sweep") else parser.parse_args)(words)
        except InputError as error:  # running text may name an option without the required ones
            if not str(error).startswith(("the following arguments are required", "one of the arguments")):
                raise
            assert {word for word in words if word.startswith("--")} <= set(parser.format_help().split())
            continue
        if name == "fit" and options.experiment not in (None, "NAME", *OWN):
            settings = [] if page.name == "extending.md" else options.overrides  # its additions bring their own
            config.load(options.experiment, settings, start=ROOT)


@each_page
def test_every_experiment_of_a_page_composes_and_what_it_names_exists(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    for name, content in re.findall(r"^```yaml\n# experiments/(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        shipped, written = ROOT / "experiments" / name, tmp_path / "experiments" / name
        if shipped.is_file():
            assert OmegaConf.create(content) == OmegaConf.load(shipped), f"{page.name}: {name} has changed"
        else:
            written.parent.mkdir(exist_ok=True)
            written.write_text(content)
            config.load(written.stem, start=tmp_path)
    named = set(re.findall(r"`((?:market|duke|cuhk|msmt)_[a-z0-9_]+)`", text)) - {"cuhk_labeled", "cuhk_detected"}
    assert named <= set(config.experiment_names(ROOT))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= set(targets)
    scripts = re.findall(r"python (?:-m )?((?:scripts/|benchmarks[./])\w+)", text)
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in scripts)


@pytest.mark.filterwarnings("ignore")  # of Lightning, about few workers and a short training
@pytest.mark.parametrize("page", [pytest.param(ROOT / "README.md", marks=pytest.mark.thorough), *DOCS.rglob("*.md")])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "data/market" in page.read_text():
        importlib.import_module("ogreid.pack").main(["plaza-4", "--workers", "1"])
    names = {"__name__": "page"}
    for code in blocks(page, "python"):
        if not code.startswith("# src/"):  # a file of docs/extending.md, which tests/test_extending.py adds
            for written, small in SUBSTITUTIONS.items():
                code = code.replace(written, small)
            exec(code, names)


def test_the_tables_of_networks_and_settings_and_the_index_are_complete():
    table = re.findall(r"^\| `(\w+)` \| ([\d ]+) \|", (DOCS / "models.md").read_text(), re.MULTILINE)
    counts = {name: int(count.replace(" ", "")) for name, count in table}
    assert counts == {name: count_parameters(build_model(name)) for name in MODELS}
    table = (DOCS / "experiments.md").read_text().partition("\n## Settings\n")[2]
    settings = re.findall(r"^\| `([\w.]+)` \| (.*?) \| .+ \|$", table, re.MULTILINE)
    defaults = {name: json.dumps(value).replace('"', "") for name, value in leaves(config.to_dict(config.Experiment()))}
    assert dict(settings) == {name: f"`{text}`" if text not in ("", "null") else "" for name, text in defaults.items()}
    index = {path.name for path in (*DOCS.glob("*.md"), *ROOT.glob("notebooks/*.ipynb"))} - {"README.md"}
    assert all(f"{name})" in (DOCS / "README.md").read_text() for name in index)


def leaves(group, prefix=""):
    """Every setting with its default; ``trainer`` is one."""
    for key, value in group.items():
        inner = value if isinstance(value, dict) and key != "trainer" else {}
        yield from leaves(inner, f"{prefix}{key}.") if inner else [(prefix + key, value)]
