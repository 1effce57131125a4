"""What every door says when something is wrong: (situation, command line) and the exact line, with exit status 2.

The lines are read by people who are stuck, so they are written down here whole; ``{here}`` is the working directory.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import write_tiny_store
from fabricated import make_run
from ogreid import export, runs
from ogreid.config import command_line

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENT = """\
data: {train: [tiny], retrieval: [tiny], workers: 0, points: 200, batch: 4}
model: {widths: [8, 16, 16, 24], kept: [64, 32, 16], k: 4}
trainer: {accelerator: cpu, enable_progress_bar: false, fast_dev_run: true}
wandb: {mode: disabled}
"""

TABLE = [
    ("nothing asked", "fit", "give --experiment NAME, or --resume RUN; --help lists the names"),
    (
        "a name is missing",
        "fit --experiment",
        "argument --experiment: expected one argument; `python -m ogreid.fit --help` shows how",
    ),
    (
        "two things asked",
        "fit --experiment mine --resume runs/made/a",
        "give --experiment NAME, or --resume RUN; --help lists the names",
    ),
    ("an unknown experiment", "fit --experiment mien", "unknown experiment 'mien'; did you mean mine?"),
    (
        "no such file",
        "fit --experiment gone.yaml",
        "no experiment file gone.yaml; give an existing .yaml or one of the names --help lists",
    ),
    (
        "a file with a typing error",
        "fit --experiment typo",
        "{here}/experiments/typo.yaml: unknown key 'model.kk'; did you mean model.k or model.num_kept or model.size?",
    ),
    (
        "a file that extends itself",
        "fit --experiment circle",
        "{here}/experiments/circle.yaml: extends itself through circle; break the circle",
    ),
    (
        "a file that is no YAML",
        "fit --experiment broken",
        "{here}/experiments/broken.yaml: not readable as YAML: ParserError: while parsing a flow node expected the node content, but found '<stream end>' in \"<unicode string>\", line 2, column 1: ^",
    ),
    (
        "a file with a list",
        "fit --experiment list",
        "{here}/experiments/list.yaml: expected settings (key: value), found a list or a single value",
    ),
    ("a leaf without its group", "fit --experiment mine k=8", "'k=8': unknown key 'k'; did you mean model.k?"),
    (
        "a key with a typing error",
        "fit --experiment mine model.kk=8",
        "'model.kk=8': unknown key 'model.kk'; did you mean model.k or model.num_kept or model.size?",
    ),
    (
        "a key that is far from any",
        "fit --experiment mine speed=3",
        "'speed=3': unknown key 'speed'; did you mean seed?",
    ),
    ("no value", "fit --experiment mine model.k", "'model.k' is not group.key=value, for example model.k=8"),
    (
        "a word for a number",
        "fit --experiment mine model.k=many",
        "'model.k=many': Value 'many' of type 'str' could not be converted to Integer",
    ),
    ("a number out of range", "fit --experiment mine model.k=0", "model.k: 0 is out of range; expected 1 or more"),
    ("a group for a key", "fit --experiment mine ops=plain", "'ops=plain': 'ops' is a group; set one of ops.backend"),
    (
        "a choice with a typing error",
        "fit --experiment mine loss.name=cirle",
        "loss.name: 'cirle' is none of its values; did you mean circle?",
    ),
    (
        "a name for a list",
        "fit --experiment mine data.train=tiny",
        "'data.train=tiny': expected a list, for example [market]",
    ),
    ("an empty list", "fit --experiment mine data.train=[]", "data.train: the list is empty; name one at least"),
    (
        "no range",
        "fit --experiment mine data.augmentation.scale=[1]",
        "data.augmentation.scale: [1.0] is no range; expected [smallest, largest], or [] for no scaling",
    ),
    (
        "a rate below zero",
        "fit --experiment mine optimizer.lr=-1",
        "optimizer.lr: -1.0 is out of range; expected 0 or more",
    ),
    (
        "a share above one",
        "fit --experiment mine data.density=1.5",
        "data.density: 1.5 is out of range; expected more than 0, at most 1",
    ),
    (
        "a store with a typing error",
        "fit --experiment mine data.train=[tinny]",
        "no store tinny in data; did you mean tiny?",
    ),
    (
        "a benchmark that is not packed",
        "fit --experiment mine data.train=[market]",
        "no packed market in data/market; make it: python -m ogreid.pack market --root DIR",
    ),
    (
        "a domain without a size",
        "fit --experiment mine data.train=[plaza]",
        "plaza is a synthetic domain; say how many people, like plaza-160",
    ),
    (
        "too many people",
        "fit --experiment mine data.train=[plaza-99999999]",
        "plaza-99999999: 99999999 identities; expected 4 to 100000, half of them train",
    ),
    (
        "a truncated store",
        "fit --experiment mine data.train=[short]",
        "data/short/xyz.npy: not a whole array file (xyz.npy: the header says 98304 bytes (32, 256, 3) float32, the file holds 372); copy or pack this store again",
    ),
    (
        "a foreign manifest",
        "fit --experiment mine data.train=[foreign]",
        "data/foreign/manifest.json: not the manifest of an ogreid store; give the folder that ogreid.pack made",
    ),
    (
        "a store of a later version",
        "fit --experiment mine data.train=[future]",
        "data/future/manifest.json: store format 99, this ogreid (0.1.0) reads format 1; pack the store again, or use the version that packed it",
    ),
    (
        "a store without rows",
        "fit --experiment mine data.train=[rowless]",
        "data/rowless/rows.npy: not readable ([Errno 2] No such file or directory: 'data/rowless/rows.npy'); copy or pack this store again",
    ),
    (
        "a manifest that is no JSON",
        "fit --experiment mine data.train=[unreadable]",
        "data/unreadable/manifest.json: not a readable manifest (Expecting value: line 1 column 1 (char 0)); pack this store again",
    ),
    (
        "more points than there are",
        "fit --experiment mine data.num_points=99999",
        "tiny: 99999 points asked, each cloud has 256; set data.num_points or data.density lower",
    ),
    (
        "more neighbors than points",
        "fit --experiment mine model.k=1000",
        "k nearest: k = 1000 asked of 200 points; take k from 1 to 200, or give more points",
    ),
    (
        "a batch larger than the set",
        "fit --experiment mine data.batch_size=64",
        "tiny: 16 training clouds do not fill one batch of 64 on 1 process(es); set data.batch_size lower",
    ),
    (
        "an unknown baseline",
        "fit --experiment mine evaluation.baselines=[histgram] trainer.fast_dev_run=false trainer.max_epochs=1",
        "model 'histgram' is unknown; did you mean histogram?",
    ),
    (
        "a width for each module",
        "fit --experiment mine model.num_kept=[64,32,16,8]",
        "OG-Net: kept = [64, 32, 16, 8] does not fit widths = [8, 16, 16, 24]; give 3 numbers, largest first",
    ),
    (
        "no such device",
        "fit --experiment mine trainer.accelerator=gpu",
        "trainer settings are refused by Lightning: No supported gpu backend found!; --print-config shows them",
    ),
    (
        "a file where runs go",
        "fit --experiment mine runs.root=text",
        "text: no run can be kept there (Not a directory); choose another with runs.root=...",
    ),
    (
        "no run there",
        "fit --resume runs/gone",
        "runs/gone: not a run (no experiment.yaml in runs/gone); give a folder like runs/demo/<stamp>-<seed>",
    ),
    (
        "no set named",
        "evaluate --checkpoint runs/real/a",
        "the following arguments are required: --on; `python -m ogreid.evaluate --help` shows how",
    ),
    (
        "two networks named",
        "evaluate --published released --checkpoint runs/real/a --on tiny",
        "argument --checkpoint: not allowed with argument --published; `python -m ogreid.evaluate --help` shows how",
    ),
    (
        "no such run",
        "evaluate --checkpoint runs/gone --on tiny",
        "runs/gone: not a run (no experiment.yaml in runs/gone); give a folder like runs/demo/<stamp>-<seed>",
    ),
    (
        "a run without a checkpoint",
        "evaluate --checkpoint runs/made/a --on tiny",
        "runs/made/a/checkpoints/last.ckpt: no checkpoint there; give a run folder or a .ckpt file",
    ),
    (
        "half a checkpoint",
        "evaluate --checkpoint half.ckpt --on tiny",
        "half.ckpt: not readable as a checkpoint: cut off: the end of the archive is missing; copy it again, or take another one",
    ),
    (
        "no checkpoint at all",
        "evaluate --checkpoint text.ckpt --on tiny",
        "text.ckpt: not readable as a checkpoint: nothing that torch.save wrote; copy it again, or take another one",
    ),
    (
        "another program's checkpoint",
        "evaluate --checkpoint other.ckpt --on tiny",
        "other.ckpt: not a checkpoint of ogreid; released ones are read by --published FOLDER",
    ),
    (
        "a checkpoint that would run a program",
        "evaluate --checkpoint malicious.ckpt --on tiny",
        "malicious.ckpt: not readable as a checkpoint: damaged, or more than plain tensors, which is not read because it could run a program; copy it again, or take another one",
    ),
    (
        "an unknown network",
        "evaluate --model histgram --on tiny",
        "model 'histgram' is unknown; did you mean histogram?",
    ),
    ("an unknown store", "evaluate --model histogram --on tinny", "no store tinny in data; did you mean tiny?"),
    (
        "a set with one camera",
        "evaluate --model histogram --on alone --points 200",
        "alone: none of the 4 queries has a match from another camera in the gallery of 4 rows: are the identities of both from the same benchmark, and the camera numbers read?",
    ),
    (
        "an unknown way to ask",
        "evaluate --model histogram --on tiny --also reranked",
        "--also reranked: did you mean re-ranked or expanded?",
    ),
    ("no points", "evaluate --model histogram --on tiny --points 0", "--points 0: expected 1 or more"),
    (
        "too many points",
        "evaluate --model histogram --on tiny --points 99999",
        "tiny: 99999 points asked, each cloud has 256; set data.num_points or data.density lower",
    ),
    ("no processes", "evaluate --model histogram --on tiny --devices 0", "--devices 0: expected 1 or more"),
    (
        "a folder that is missing",
        "evaluate --model histogram --on tiny --json nowhere/a.json",
        "nowhere/a.json: its folder does not exist; make it or choose another --json",
    ),
    (
        "no data root",
        "evaluate --model histogram --on tiny --data nowhere",
        "no store tiny in nowhere; known: cuhk, cuhk_labeled, duke, folder, market, msmt, platform, platform-160, plaza, plaza-160, transit, transit-160, winter, winter-160",
    ),
    (
        "a share of points above one",
        "evaluate --model histogram --on tiny --density 2",
        "--density 2: expected shares of the points, above 0 and up to 1",
    ),
    (
        "no released folder",
        "evaluate --published gone --on tiny",
        "gone/opts.yaml: no such file; a published network is a folder with opts.yaml and model_last.pth",
    ),
    (
        "released weights cut off",
        "evaluate --published bad_weights --on tiny",
        "bad_weights/model_last.pth: cannot be read as a state dict (cut off: the end of the archive is missing)",
    ),
    (
        "released options that are no YAML",
        "evaluate --published bad_options --on tiny",
        "bad_options/opts.yaml: cannot be read as YAML (ParserError: while parsing a flow node expected the node content, but found '<stream end>' in \"<unicode string>\", line 1, column 5: k: [ ^)",
    ),
    (
        "released options of something else",
        "evaluate --published bare_options --on tiny",
        "bare_options/opts.yaml: feature_dims is missing; this is no options file of the released code",
    ),
    (
        "other released weights",
        "evaluate --published released --weights gone.pth --on tiny",
        "released/gone.pth: no such file; known: model_last.pth",
    ),
    ("nothing to pack", "pack", "the following arguments are required: NAME; `python -m ogreid.pack --help` shows how"),
    ("a benchmark with a typing error", "pack markett --root none", "no benchmark 'markett'; did you mean market?"),
    ("where is it", "pack market", "where is Market-1501? give its folder: python -m ogreid.pack market --root DIR"),
    (
        "an empty folder",
        "pack market --root none",
        "none: Market-1501 is not in it; expected bounding_box_train/, query/, bounding_box_test/ or train_all/ID/, query/ID/, gallery/ID/; get it: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    ),
    (
        "a file for a folder",
        "pack market --root text",
        "text: no such folder; get it: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    ),
    (
        "a benchmark's name for own crops",
        "pack market --images crops",
        "market is a benchmark: give its folder with --root, or your own crops another name",
    ),
    (
        "no crops",
        "pack people --images none",
        "none: no pictures (.jpg, .jpeg, .png, .bmp) in it; is it the right one, and unpacked whole?",
    ),
    (
        "crops without identity",
        "pack people --images names",
        "names/holiday.png: the name does not tell identity and camera; expected names like 0002_c1s1_000451_03.jpg; rename it or take it out of the folder",
    ),
    (
        "one camera",
        "pack people --images crops",
        "crops: one camera only (1) in query and gallery; retrieval looks for the same person in another camera, so name two at least, like 0002_c1s1_000451_03.jpg",
    ),
    ("no workers", "pack people --images names --workers 0", "--workers 0: expected 1 or more"),
    ("no shard", "pack people --images names --shard 3/2", "--shard 3/2: expected I/N with I from 1 to N, like 3/8"),
    (
        "shards that do not exist",
        "pack people --merge",
        "data/people: no finished shards beside it; make them with --shard I/N",
    ),
    ("one person", "pack plaza-1", "plaza-1: 1 identities; expected 4 to 100000, half of them train"),
    (
        "a domain with a typing error",
        "pack plazza-16",
        "no benchmark 'plazza-16'; did you mean plaza-16 or platform-16?",
    ),
    (
        "a broken store",
        "pack short --verify",
        "data/short/xyz.npy: not a whole array file (xyz.npy: the header says 98304 bytes (32, 256, 3) float32, the file holds 372); copy or pack this store again",
    ),
    ("no rows to show", "pack tiny --preview 0", "--preview 0: expected 1 or more rows"),
    ("a row that does not exist", "pack tiny --export-ply 1000", "--export-ply 1000: data/tiny has rows 0 to 31"),
    (
        "published clouds are not here",
        "pack market --published none",
        "none: Market-1501 is not in it; expected train_all/ID/, query/ID/, gallery/ID/; get it: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    ),
    (
        "nothing to search",
        "search --model histogram --gallery tiny",
        "nothing asked: give --query PICTURE to search, --export FILE to keep the embeddings, or both",
    ),
    (
        "nowhere to search",
        "search --model histogram --gallery tinny --query one.png",
        "no store tinny in data; did you mean tiny?",
    ),
    (
        "no picture",
        "search --model histogram --gallery tiny --query gone.png",
        "gone.png: no such picture; give the file of a crop of one person",
    ),
    (
        "none of the first",
        "search --model histogram --gallery tiny --query one.png --top 0",
        "--top 0: expected 1 or more",
    ),
    (
        "embeddings of another kind",
        "search --model histogram --gallery tiny --query one.png --embeddings kept.txt",
        "--embeddings kept.txt: kept as .npz only; --export writes other kinds of files",
    ),
    (
        "embeddings that are none",
        "search --model histogram --gallery tiny --query one.png --embeddings kept.npz",
        "kept.npz: not embeddings that this program kept (BadZipFile: File is not a zip file); delete it",
    ),
    (
        "an unknown format",
        "search --model histogram --gallery tiny --export a.csv",
        "a.csv: embeddings are written as .npz, .parquet, .faiss; end its name with one of them",
    ),
    (
        "an export without a folder",
        "search --model histogram --gallery tiny --export nowhere/a.npz",
        "nowhere/a.npz: its folder does not exist; make it or choose another",
    ),
    (
        "a network of more points than the store has",
        "search --model histogram --gallery tiny --query one.png",
        "tiny: 4096 points asked, each cloud has 256; take a network trained on as few, or pack the store with more points",
    ),
    (
        "faces without bodies to search with",
        "search --model histogram --gallery tiny --query one.png --faces faces.npy",
        "--faces faces.npy: of bodies that are given with --meshes; give both, or neither",
    ),
    (
        "other weights to search with",
        "search --published released --weights gone.pth --gallery tiny --query one.png",
        "released/gone.pth: no such file; known: model_last.pth",
    ),
    (
        "no network",
        "search --gallery tiny --query one.png",
        "one of the arguments --checkpoint --published --model is required; `python -m ogreid.search --help` shows how",
    ),
    (
        "nothing to export",
        "export --published released",
        "one of the arguments --to --program is required; `python -m ogreid.export --help` shows how",
    ),
    (
        "a run that exists",
        "export --published released --to runs/real/a",
        "runs/real/a: already there; choose another place, or remove it first",
    ),
    (
        "a run is one already",
        "export --checkpoint runs/real/a --to runs/new",
        "--checkpoint is a run already; --to takes a released folder (--published)",
    ),
    (
        "a program without a folder",
        "export --published released --program nowhere/a.pt2",
        "nowhere/a.pt2: its folder does not exist; make it or choose another --program",
    ),
    ("no batch", "export --published released --program a.pt2 --batch 0", "--batch 0: expected 1 or more"),
    ("no run to tell of", "report", "which run? give folders like runs/demo/<stamp>-<seed>, or --models"),
    (
        "not a run",
        "report none",
        "none: no run (no experiment.yaml in it); expected a folder like runs/demo/<stamp>-<seed>",
    ),
    (
        "a page without a folder",
        "report runs/made/a --to nowhere/a.html",
        "nowhere/a.html: its folder does not exist; make it or choose another --to",
    ),
    (
        "two formats",
        "report runs/made/a --markdown --csv",
        "argument --csv: not allowed with argument --markdown; `python -m ogreid.report --help` shows how",
    ),
    (
        "no sweep",
        "sweep",
        "the following arguments are required: FILE, group.key=value; `python -m ogreid.sweep --help` shows how",
    ),
    (
        "no sweep file",
        "sweep gone.yaml",
        "no sweep file gone.yaml; give a .yaml file, or a name: known: ablation, density, inputs, k, k_by_density, loss, models",
    ),
    (
        "a method that needs a server",
        "sweep bayes.yaml",
        "bayes.yaml: method bayes: grid and random run here, bayes needs W&B's server (wandb sweep)",
    ),
    (
        "a sweep of nothing",
        "sweep blank.yaml",
        "blank.yaml: no parameters; expected for example parameters: {model.k: {values: [4, 8]}}",
    ),
    (
        "not a sweep",
        "sweep text",
        "text: unknown key 'hello'; known: apiVersion, command, controller, description, early_terminate, entity, kind, method, metric, name, parameters, program, project, run_cap",
    ),
    (
        "nothing to repeat",
        "repeat",
        "the following arguments are required: FILE; `python -m ogreid.training.reproduce --help` shows how",
    ),
    (
        "no bad step",
        "repeat gone.ckpt",
        "gone.ckpt: no such file; give a bad-step-N.ckpt, which a run keeps in checkpoints/ when it stops",
    ),
    (
        "a run instead of its bad step",
        "repeat runs/real/a",
        "runs/real/a: a folder; give a bad-step-N.ckpt, which a run keeps in checkpoints/ when it stops",
    ),
    (
        "a checkpoint of a good step",
        "repeat runs/real/a/checkpoints/last.ckpt",
        "runs/real/a/checkpoints/last.ckpt: holds no batch; give a bad-step-N.ckpt, which a run keeps when its loss is nan",
    ),
    (
        "half a bad step",
        "repeat half.ckpt",
        "half.ckpt: not readable as a checkpoint: cut off: the end of the archive is missing; copy it again, or take another one",
    ),
    (
        "a bad step with a part of its batch",
        "repeat bad-step-3.ckpt",
        "bad-step-3.ckpt: its batch is not whole; copy it again, or take another one",
    ),
    (
        "a bad step that shows nobody",
        "repeat bad-step-4.ckpt",
        "bad-step-4.ckpt: kept without its clouds (runs.pictures=false); to meet the step again: python -m ogreid.fit --resume . runs.pictures=true",
    ),
    (
        "people nowhere",
        "people",
        "the following arguments are required: --contact-sheet; `python -m ogreid.synthetic --help` shows how",
    ),
    (
        "people of another format",
        "people --contact-sheet people.jpg",
        "people.jpg: expected a name that ends in .png",
    ),
    (
        "no people",
        "people --contact-sheet people.png --people 0",
        "--people 0 --cameras 4: expected 1 or more of each",
    ),
    (
        "a file for a folder of people",
        "people --contact-sheet text/people.png",
        "text/people.png: cannot be written (File exists); choose another place",
    ),
    (
        "an unknown network's size",
        "fit --experiment mine model.name=ognt",
        "model.name: 'ognt' is none of its values; did you mean ognet?",
    ),
]


class Malicious:
    """Pickled, it would create a file when it is read by a reader that runs what it reads."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A working directory in which everything that can be wrong is."""
    here = tmp_path_factory.mktemp("world")
    _stores(here / "data")
    _checkpoints(here)
    for name in ("bad_weights", "bad_options", "bare_options"):
        shutil.copytree(GOLDEN / "ognet", here / name)
    shutil.copytree(GOLDEN / "ognet", here / "released")
    (here / "bad_weights" / "model_last.pth").write_bytes(b"PK")
    (here / "bad_options" / "opts.yaml").write_text("k: [")
    (here / "bare_options" / "opts.yaml").write_text("k: 20\n")
    for name in ("crops", "names", "none"):
        (here / name).mkdir()
    (here / "crops" / "0001_c1.jpg").write_text("not a picture")
    Image.fromarray(np.full((128, 64, 3), 99, np.uint8)).save(here / "names" / "holiday.png")
    Image.fromarray(np.full((128, 64, 3), 99, np.uint8)).save(here / "one.png")
    (here / "text").write_text("hello")
    (here / "kept.npz").write_text("hello")
    (here / "experiments").mkdir()
    for name, text in {
        "mine": EXPERIMENT,
        "typo": "model: {kk: 1}\n",
        "circle": "extends: circle\n",
        "broken": "model: [\n",
        "list": "- 1\n",
    }.items():
        (here / "experiments" / f"{name}.yaml").write_text(text)
    (here / "bayes.yaml").write_text("method: bayes\nparameters: {model.k: {values: [1]}}\n")
    (here / "blank.yaml").write_text("method: grid\nparameters: {}\n")
    return here


def _stores(data: Path) -> None:
    write_tiny_store(data / "tiny")
    write_tiny_store(data / "alone", cameras=1)
    for name in ("short", "foreign", "future", "rowless", "unreadable"):
        shutil.copytree(data / "tiny", data / name)
    with (data / "short" / "xyz.npy").open("r+b") as file:
        file.truncate(500)
    (data / "foreign" / "manifest.json").write_text('{"cats": 3}')
    plain = json.loads((data / "tiny" / "manifest.json").read_text())
    (data / "future" / "manifest.json").write_text(json.dumps(plain | {"version": 99}))
    (data / "rowless" / "rows.npy").unlink()
    (data / "unreadable" / "manifest.json").write_text("hello")


def _checkpoints(here: Path) -> None:
    make_run(here / "runs" / "made" / "a")
    assert export.main(["--published", str(GOLDEN / "ognet"), "--to", str(here / "runs" / "real" / "a")]) == 0
    (checkpoint,) = (here / "runs" / "real" / "a").rglob("*.ckpt")
    (here / "half.ckpt").write_bytes(checkpoint.read_bytes()[:1000])
    (here / "text.ckpt").write_text("hello")
    torch.save({"a": 1}, here / "other.ckpt")
    torch.save({"state_dict": Malicious()}, here / "malicious.ckpt")
    whole = torch.load(checkpoint, weights_only=True)
    torch.save(whole | {"bad": {"xyz": torch.zeros(2, 4, 3)}}, here / "bad-step-3.ckpt")
    torch.save(whole | {"bad": {"clouds": []}}, here / "bad-step-4.ckpt")


@pytest.mark.thorough
@pytest.mark.parametrize(("situation", "line", "message"), TABLE, ids=[row[0] for row in TABLE])
def test_a_mistake_is_answered_in_one_exact_line(situation, line, message, world, monkeypatch, capsys):
    before = set(world.rglob("*"))
    door, *words = line.split()
    monkeypatch.chdir(world)
    for name in ("OGREID_DATA", runs.STAMP):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", [door, *words])
    with pytest.raises(SystemExit) as left:
        command_line.run(importlib.import_module("ogreid.synthetic.__main__" if door == "people" else f"ogreid.{door}").main)
    said = capsys.readouterr().err.replace(str(world), "{here}")
    assert (said, left.value.code) == (f"error: {message}\n", 2)
    assert set(world.rglob("*")) == before  # nothing half-written, nothing executed


def test_the_table_covers_every_door():
    source = Path(command_line.__file__).parent
    known = {path.stem for path in source.glob("*.py") if "command_line.run(main)" in path.read_text()}
    assert known >= {"fit", "repeat", "search"}
    assert {line.split()[0] for _, line, _ in TABLE} == known | {"people"}
    assert len(TABLE) >= 60 and len({line for _, line, _ in TABLE}) == len(TABLE)
