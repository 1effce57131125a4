"""What every command says when something is wrong: status 2, one line with the words that help, and nothing written."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from conftest import write_tiny_store
from crop_folders import write_crops
from fabricated import make_run
from ogreid import export
from ogreid.__main__ import COMMANDS
from ogreid.config import command_line
from ogreid.runs import STAMP
from sweeping_files import make_sweep

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = {
    "mine": """\
data: {train: [tiny], test: [tiny], num_workers: 0, num_points: 200, batch_size: 4}
model: {channels: [8, 16, 16, 24], num_kept: [64, 32, 16], k: 4}
trainer: {accelerator: cpu, enable_progress_bar: false, fast_dev_run: true}
wandb: {mode: disabled}
""",
    "typo": "model: {kk: 1}\n",
    "circle": "extends: circle\n",
    "broken": "model: [\n",
    "list": "- 1\n",
}
FIT, EVALUATE = "fit --experiment mine", "evaluate --model histogram --on tiny"
SEARCH, EMBED = (
    "search --model histogram --gallery tiny --query one.png",
    "embed --model histogram --input one.png --to",
)
# What is wrong, the command line, and words of the answer.
TABLE = [
    ("no experiment", "fit", "--experiment --resume --reproduce"),
    ("a name is missing", "fit --experiment", "--experiment --help"),
    ("two things at once", "fit --experiment mine --resume runs/made/a", "--experiment --resume"),
    ("two experiments", "fit --experiment mine experiment=demo", "mine demo"),
    ("an unknown experiment", "fit --experiment mien", "'mien' mine"),
    ("no such file", "fit --experiment gone.yaml", "gone.yaml"),
    ("a file with a typing error", "fit --experiment typo", "typo.yaml 'model.kk' model.k"),
    ("a file that extends itself", "fit --experiment circle", "circle.yaml extends"),
    ("a file that is no YAML", "fit --experiment broken", "broken.yaml YAML"),
    ("a file with a list", "fit --experiment list", "list.yaml list"),
    ("a leaf without its group", f"{FIT} k=8", "'k' model.k"),
    ("a key with a typing error", f"{FIT} model.kk=8", "'model.kk' model.k"),
    ("a key that is far from any", f"{FIT} speed=3", "'speed' seed"),
    ("no value", f"{FIT} model.k", "'model.k' group.key=value"),
    ("a word for a number", f"{FIT} model.k=many", "model.k 'many'"),
    ("a number out of range", f"{FIT} model.k=0", "model.k 1 0"),
    ("a group for a key", f"{FIT} ops=plain", "'ops' ops.backend"),
    ("half a list", f"{FIT} data.train=[a", "data.train YAML"),
    ("an unknown network", f"{FIT} model.name=ognt", "model.name 'ognt' ognet"),
    ("an unknown loss", f"{FIT} loss.name=cirle", "loss.name 'cirle' circle"),
    ("a name for a list", f"{FIT} data.train=tiny", "data.train list"),
    ("an empty list", f"{FIT} data.train=[]", "data.train empty"),
    ("no range", f"{FIT} data.augmentation.scale=[1]", "data.augmentation.scale [1.0]"),
    ("a rate below zero", f"{FIT} optimizer.lr=-1", "optimizer.lr -1"),
    ("a share above one", f"{FIT} data.density=1.5", "data.density 1.5"),
    ("a store with a typing error", f"{FIT} data.train=[tinny]", "tinny tiny"),
    ("a benchmark that is not packed", f"{FIT} data.train=[market]", "ogreid.pack market"),
    ("a domain without a size", f"{FIT} data.train=[plaza]", "plaza plaza-160"),
    ("too many people", f"{FIT} data.train=[plaza-99999999]", "plaza-99999999 100000"),
    ("a truncated store", f"{FIT} data.train=[short]", "short/xyz.npy 98304"),
    ("another program's manifest", f"{FIT} data.train=[foreign]", "foreign/manifest.json"),
    ("a store of a later version", f"{FIT} data.train=[future]", "future/manifest.json 99"),
    ("a store without rows", f"{FIT} data.train=[rowless]", "rowless/rows.npy"),
    ("a manifest that is no JSON", f"{FIT} data.train=[unreadable]", "unreadable/manifest.json"),
    ("more points than there are", f"{FIT} data.num_points=99999", "data.num_points 256 99999"),
    ("more neighbors than points", f"{FIT} model.k=1000", "k 200 1000"),
    ("a batch larger than the set", f"{FIT} data.batch_size=64", "tiny 64 16"),
    ("an unknown baseline", f"{FIT} evaluation.baselines=[histgram]", "histgram histogram"),
    ("a width for each module", f"{FIT} model.num_kept=[64,32,16,8]", "num_kept channels"),
    ("no such device", f"{FIT} trainer.accelerator=gpu", "trainer Lightning"),
    ("an unknown Trainer argument", f"{FIT} trainer.max_epoch=3", "trainer.max_epoch max_epochs"),
    ("a file where runs go", f"{FIT} runs.root=text", "text runs.root"),
    ("crops for a network on points", f"{FIT} data.inputs=crop", "data.inputs"),
    ("no run there", "fit --resume runs/gone", "runs/gone experiment.yaml"),
    ("no failing step", "fit --reproduce gone.ckpt", "gone.ckpt bad-step"),
    ("a run instead of its failing step", "fit --reproduce runs/real/a", "runs/real/a folder bad-step"),
    ("a good step", "fit --reproduce runs/real/a/checkpoints/last.ckpt", "last.ckpt batch"),
    ("half a failing step", "fit --reproduce half.ckpt", "half.ckpt cut"),
    ("a failing step with half its batch", "fit --reproduce bad-step-3.ckpt", "bad-step-3.ckpt whole"),
    ("a failing step without clouds", "fit --reproduce bad-step-4.ckpt", "runs.pictures=false --resume"),
    ("no set", "evaluate --checkpoint runs/real/a", "--on --help"),
    ("two networks", "evaluate --published released --checkpoint runs/real/a --on tiny", "--checkpoint --published"),
    ("no such run", "evaluate --checkpoint runs/gone --on tiny", "runs/gone experiment.yaml"),
    ("a run without a checkpoint", "evaluate --checkpoint runs/made/a --on tiny", "last.ckpt"),
    ("half a checkpoint", "evaluate --checkpoint half.ckpt --on tiny", "half.ckpt cut"),
    ("no checkpoint at all", "evaluate --checkpoint text.ckpt --on tiny", "text.ckpt torch.save"),
    ("another program's checkpoint", "evaluate --checkpoint other.ckpt --on tiny", "other.ckpt ogreid"),
    ("a checkpoint that runs a program", "evaluate --checkpoint malicious.ckpt --on tiny", "malicious.ckpt program"),
    ("an untrained network's name", "evaluate --model histgram --on tiny", "'histgram' histogram"),
    ("an unknown store", "evaluate --model histogram --on tinny", "tinny tiny"),
    ("a set with one camera", "evaluate --model histogram --on alone --points 200", "alone camera"),
    ("an unknown variant", f"{EVALUATE} --also reranked", "--also re-ranked"),
    ("no points", f"{EVALUATE} --points 0", "--points 0"),
    ("too many points", f"{EVALUATE} --points 99999", "256 99999"),
    ("no processes", f"{EVALUATE} --devices 0", "--devices 0"),
    ("numbers in no folder", f"{EVALUATE} --json nowhere/a.json", "nowhere folder"),
    ("numbers of another kind", f"{EVALUATE} --json e.csv", "e.csv .json"),
    ("no data root", f"{EVALUATE} --data nowhere", "tiny nowhere"),
    ("a share of points above one", f"{EVALUATE} --density 0.5 2", "--density 2"),
    ("no share of points", f"{EVALUATE} --density 0", "--density 0"),
    ("points and their share", f"{EVALUATE} --density --points 64", "--density --points"),
    ("no released folder", "evaluate --published gone --on tiny", "gone/opts.yaml"),
    ("released weights cut off", "evaluate --published bad_weights --on tiny", "bad_weights/model_last.pth cut"),
    ("released options that are no YAML", "evaluate --published bad_options --on tiny", "bad_options/opts.yaml YAML"),
    ("released options of something else", "evaluate --published bare_options --on tiny", "opts.yaml feature_dims"),
    ("other released weights", "evaluate --published released --weights x.pth --on tiny", "x.pth model_last.pth"),
    ("nothing to pack", "pack", "NAME --help"),
    ("a benchmark with a typing error", "pack markett --root none", "markett market"),
    ("where is it", "pack market", "Market-1501 --root"),
    ("an empty folder", "pack market --root none", "none bounding_box_train/"),
    ("a file for a folder", "pack market --root text", "text folder"),
    ("a benchmark's name for own crops", "pack market --images crops", "market --root"),
    ("no crops", "pack people --images none", "none .jpg"),
    ("crops without identity", "pack people --images names", "names/holiday.png 0002_c1s1_000451_03.jpg"),
    ("one camera", "pack people --images crops", "crops camera"),
    ("no workers", "pack people --images names --workers 0", "--workers 0"),
    ("no shard", "pack people --images names --shard 3/2", "--shard 3/2"),
    ("a shard of nothing", "pack people --images names --shard 3", "--shard 3"),
    ("a shard and a merge", "pack people --merge --shard 1/2", "--merge --shard"),
    ("shards that do not exist", "pack people --merge", "people shards --shard"),
    ("one person", "pack plaza-1", "plaza-1 4"),
    ("a domain with a typing error", "pack plazza-16", "plazza-16 plaza-16"),
    ("a broken store", "pack short --verify", "short/xyz.npy"),
    ("no rows to show", "pack tiny --preview 0", "--preview 0"),
    ("a row that does not exist", "pack tiny --export-ply 1000", "--export-ply 31"),
    ("published clouds elsewhere", "pack market --published none", "none train_all/ID/"),
    ("nothing to search for", "search --model histogram --gallery tiny", "--query"),
    ("nowhere to search", "search --model histogram --gallery tinny --query one.png", "tinny tiny"),
    ("no image", "search --model histogram --gallery tiny --query gone.png", "gone.png"),
    ("none of the first", f"{SEARCH} --top 0", "--top 0"),
    ("a list of another kind", f"{SEARCH} --to x.pdf", "x.pdf .html"),
    ("a cache of another kind", f"{SEARCH} --embeddings cache.txt", "cache.txt .npz"),
    ("a cache that holds none", f"{SEARCH} --embeddings cache.npz", "cache.npz embeddings"),
    ("a cache in no folder", f"{SEARCH} --embeddings nowhere/a.npz", "nowhere folder"),
    ("bodies elsewhere", f"{EMBED} a.npz --meshes nowhere", "nowhere --meshes"),
    ("more points than the store has", SEARCH, "256 4096"),
    ("faces without bodies", f"{SEARCH} --faces faces.npy", "--faces --meshes"),
    ("weights to search with", "search --published released --weights x.pth --gallery tiny --query one.png", "x.pth"),
    ("crops of another size", "search --gallery tiny --query one.png", "8192 pixels 128 256"),
    ("nothing to embed", "embed --model histogram --to a.npz", "--input"),
    ("embeddings of another kind", f"{EMBED} a.csv", "a.csv .npz"),
    ("embeddings in no folder", f"{EMBED} nowhere/a.npz", "nowhere folder"),
    ("no such store", "embed --model histogram --input tinny --to a.npz", "tinny tiny"),
    ("no such image", "embed --model histogram --input gone.png --to a.npz", "gone.png image"),
    ("an image that is none", "embed --model histogram --input crops/0001_c1.jpg --to a.npz", "0001_c1.jpg image"),
    ("a folder without images", "embed --model histogram --input none --to a.npz", "none .jpg"),
    ("no folder to export", "export --published gone --to runs/new", "gone/opts.yaml"),
    ("nothing to export", "export --published released", "--to --program"),
    ("a run that exists", "export --published released --to runs/real/a", "runs/real/a there"),
    ("a run is one already", "export --checkpoint runs/real/a --to runs/new", "--to --published"),
    ("a program in no folder", "export --published released --program nowhere/a.pt2", "nowhere folder"),
    ("a program of another kind", "export --published released --program n.onnx", "n.onnx .pt2"),
    ("no batch", "export --published released --program a.pt2 --batch 0", "--batch 0"),
    ("no run to report", "report", "runs --models"),
    ("not a run", "report none", "none experiment.yaml"),
    ("a page in no folder", "report runs/made/a --to nowhere/a.html", "nowhere --to"),
    ("a page of another kind", "report runs/made/a --to page.pdf", "page.pdf .html"),
    ("a file and a format", "report runs/made/a --to page.html --csv", "--to --csv"),
    ("nothing to open", "report runs/made/a --csv --open", "--open"),
    ("a sweep of no folders and a run", "report swept runs/made/a", "sweep.json folder"),
    ("two formats", "report runs/made/a --markdown --csv", "--csv --markdown"),
    ("no sweep", "sweep", "FILE --help"),
    ("no sweep file", "sweep gone.yaml", "gone.yaml k_by_density"),
    ("a search without an end", "sweep bayes.yaml", "bayes.yaml --count"),
    ("a sweep of nothing", "sweep blank.yaml", "blank.yaml parameters"),
    ("not a sweep", "sweep text", "text hello"),
    ("no image to draw", "synthetic", "--contact-sheet --help"),
    ("an image of another kind", "synthetic --contact-sheet people.jpg", "people.jpg .png"),
    ("no people", "synthetic --contact-sheet people.png --people 0", "--people 0"),
    ("a file for a folder of images", "synthetic --contact-sheet text/people.png", "text/people.png"),
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
    for name in ("released", "bad_weights", "bad_options", "bare_options"):
        shutil.copytree(GOLDEN / "ognet", here / name)
    (here / "bad_weights" / "model_last.pth").write_bytes(b"PK")
    (here / "bad_options" / "opts.yaml").write_text("k: [")
    (here / "bare_options" / "opts.yaml").write_text("k: 20\n")
    for name in ("crops", "none", "experiments"):
        (here / name).mkdir()
    (here / "crops" / "0001_c1.jpg").write_text("not an image")
    crop = write_crops(here / "names", identities=1, cameras=1) / "0001_c1s1_000001_00.png"
    crop.rename(crop.with_name("holiday.png"))
    shutil.copy(crop.with_name("holiday.png"), here / "one.png")
    for name in ("text", "text.ckpt", "cache.npz"):
        (here / name).write_text("hello")
    for name, text in EXPERIMENTS.items():
        (here / "experiments" / f"{name}.yaml").write_text(text)
    command = 'command: ["${env}", python, -m, ogreid.fit, --experiment, mine, "${args_no_hyphens}"]\n'
    make_sweep(here / "swept", [{"model.k": 4, "level": 20.0}])
    endless = "method: bayes\nmetric: {name: val/mAP, goal: maximize}\nparameters: {model.k: {values: [1]}}\n"
    (here / "bayes.yaml").write_text(endless + command)
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
    checkpoint = here / "runs" / "real" / "a" / "checkpoints" / "last.ckpt"
    (here / "half.ckpt").write_bytes(checkpoint.read_bytes()[:1000])
    torch.save({"a": 1}, here / "other.ckpt")
    torch.save({"state_dict": Malicious()}, here / "malicious.ckpt")
    whole = torch.load(checkpoint, weights_only=True)
    torch.save(whole | {"failing_step": {"xyz": torch.zeros(2, 4, 3)}}, here / "bad-step-3.ckpt")
    torch.save(whole | {"failing_step": {"clouds": []}}, here / "bad-step-4.ckpt")


@pytest.mark.parametrize(("situation", "line", "words"), TABLE, ids=[row[0] for row in TABLE])
def test_a_mistake_is_answered_in_one_line(situation, line, words, world, monkeypatch, capsys):
    before = set(world.rglob("*"))
    command, *arguments = line.split()
    monkeypatch.chdir(world)
    for name in ("OGREID_DATA", STAMP):
        monkeypatch.delenv(name, raising=False)
    module = importlib.import_module("ogreid.synthetic.__main__" if command == "synthetic" else f"ogreid.{command}")
    with pytest.raises(SystemExit) as left:
        command_line.run(module.main, arguments)
    output = capsys.readouterr()
    assert left.value.code == 2 and output.err.startswith("error: ") and output.err.count("\n") == 1, output.err
    assert all(word in output.err for word in words.split()), output.err
    assert set(world.rglob("*")) == before  # nothing half-written, nothing executed


def test_the_table_covers_every_command():
    assert {line.split()[0] for _, line, _ in TABLE} == {*COMMANDS, "synthetic"}
    assert len({line for _, line, _ in TABLE}) == len(TABLE)
