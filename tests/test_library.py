"""The library as a Lightning user writes it: a module, a data module, two callbacks and a plain Trainer."""

import os
import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningCLI
from torch import nn

from ogreid import OGNet, ReIDDataModule, ReIDModule, RetrievalEvaluation, TransferEvaluation
from ogreid.data.batch import CloudBatch
from ogreid.errors import InputError
from ogreid.retrieval import evaluate_retrieval

TINY = {"channels": [8, 16], "num_kept": [16, 8], "k": 4, "embedding": 16, "backend": "plain"}
TEN_LINES = """\
import lightning as L
from ogreid import ReIDDataModule, ReIDModule, RetrievalEvaluation, TransferEvaluation

data = ReIDDataModule("data", train="plaza-4", test="plaza-4", transfer=["winter-4"], batch_size=4, num_points=64)
model = ReIDModule("ognet", model_options={"channels": [8, 16], "num_kept": [16, 8], "k": 4}, loss="circle", lr=1e-3)
trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[RetrievalEvaluation(), TransferEvaluation()])
trainer.fit(model, data)
trainer.test(model, data)
embeddings = trainer.predict(model, data)
print("embedded", sum(len(batch.source) for loader in embeddings for batch in loader))
"""


@pytest.fixture
def place(tmp_path, stores, monkeypatch):
    stores("tiny")
    stores("other", identities=6, seed=3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_module(**changes) -> ReIDDataModule:
    settings = {"train": "tiny", "test": "tiny", "num_points": 64, "batch_size": 8, "num_workers": 0}
    return ReIDDataModule("data", **(settings | changes))


def module(**changes) -> ReIDModule:
    return ReIDModule(**({"model": "ognet", "model_options": TINY, "dropout": 0.0, "scales": (1.0,)} | changes))


def trainer(**changes) -> L.Trainer:
    plain = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    plain |= {"enable_model_summary": False, "enable_checkpointing": False}
    return L.Trainer(**(plain | {"callbacks": [RetrievalEvaluation(), TransferEvaluation()]} | changes))


def script_output(place: Path, *command: str, **environment: str) -> str:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD_SIZE"))}
    here = known | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
    done = subprocess.run(command, cwd=place, env=here, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def test_the_ten_lines_run_in_a_script_without_a_main_guard(tmp_path):
    (tmp_path / "ten.py").write_text(TEN_LINES)
    output = script_output(tmp_path, sys.executable, "ten.py")
    assert "test/plaza-4/rank1" in output and "transfer/plaza-4->winter-4/mAP" in output
    assert int(output.split("embedded ")[1].split()[0]) > 0


@pytest.mark.thorough
def test_the_ten_lines_run_under_torchrun(tmp_path):
    (tmp_path / "ten.py").write_text(TEN_LINES.replace('accelerator="cpu"', 'accelerator="cpu", devices=2'))
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    assert "test/plaza-4/rank1" in script_output(tmp_path, sys.executable, *launch, "ten.py")


def test_fit_test_and_predict_give_the_same_retrieval(place):
    data, model, plain = data_module(transfer=["other"]), module(lr=0.01, loss_warmup=0), trainer(max_epochs=4)
    plain.fit(model, data)
    (numbers,) = [plain.test(model, data, verbose=False)[0]]
    batches = plain.predict(model, data)
    tiny = data.evaluation_sets[0]
    columns = [torch.cat([batch[i] for batch in batches[0]]).numpy() for i in range(4)]
    order = np.argsort(columns[3])
    sides = [[column[order][part] for column in columns[:3]] for part in (slice(8), slice(8, None))]
    assert numbers["test/tiny/mAP"] == pytest.approx(
        100 * evaluate_retrieval(*sides[0], *sides[1]).mean_average_precision
    )
    assert numbers["transfer/tiny->other/rank1"] > 0
    sources = [source for batch in batches[0] for source in batch.source]
    assert sources == [str(tiny.store.rows["source"][row]) for row in tiny.rows]


def test_a_checkpoint_of_a_plain_trainer_rebuilds_network_and_classifier(place):
    data, model, plain = data_module(), module(), trainer()
    plain.fit(model, data)
    plain.save_checkpoint("plain.ckpt")
    again = ReIDModule.load_from_checkpoint("plain.ckpt")
    assert again.head is not None and again.head.classifier.out_features == data.num_identities == 4
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert again.hparams["model_options"]["channels"] == [8, 16]
    plain.fit(ReIDModule.load_from_checkpoint("plain.ckpt"), data_module())


def test_any_module_from_clouds_to_embeddings_trains_and_its_checkpoint_says_what_it_needs(place):
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(6, 5)

        def forward(self, xyz: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
            return self.project(torch.cat([xyz, rgb], 2)).amax(1)

    plain = trainer()
    plain.fit(ReIDModule(Mean(), loss="triplet"), data_module())
    plain.save_checkpoint("own.ckpt")
    with pytest.raises(InputError, match="model"):
        ReIDModule.load_from_checkpoint("own.ckpt")
    assert ReIDModule.load_from_checkpoint("own.ckpt", model=Mean()).head.classifier.in_features == 5


def test_a_network_that_was_built_by_hand_describes_itself(place):
    plain = trainer()
    plain.fit(ReIDModule(OGNet(**TINY)), data_module())
    plain.save_checkpoint("hand.ckpt")
    assert ReIDModule.load_from_checkpoint("hand.ckpt").network.k == 4


def test_a_loss_of_ones_own_is_added_to_the_cross_entropy(place):
    class Spread(nn.Module):
        def forward(self, embedding: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
            return embedding.square().mean()

    model, data = module(loss=Spread()), data_module()
    trainer().fit(model, data)
    batch = data.augmented(next(iter(data.training_loader(0))), 0, 0)
    assert set(model.losses(batch)) == {"cross_entropy", "pair"}


def test_a_plain_trainer_on_two_processes_evaluates_like_one(place, monkeypatch):
    """With Lightning's own defaults: nobody has to know about use_distributed_sampler."""
    monkeypatch.delenv("SLURM_NTASKS", raising=False)  # with it Lightning starts no processes of its own
    plain = trainer(devices=2, strategy="ddp_fork")
    torch.manual_seed(0)
    (numbers,) = plain.test(module(), data_module(eval_batch_size=4), verbose=False)
    torch.manual_seed(0)
    (alone,) = trainer().test(module(), data_module(eval_batch_size=4), verbose=False)
    assert numbers == alone


def test_the_lightning_command_line_takes_module_and_data_module(place, monkeypatch):
    config = ["fit", "--seed_everything=0", "--data.root=data", "--data.train=tiny", "--data.test=tiny"]
    config += ["--data.num_points=64"]
    config += ["--data.batch_size=8", "--data.num_workers=0", "--data.sampler=pk", "--data.num_instances=2"]
    config += ["--model.model=ognet", f"--model.model_options={TINY}", "--model.loss=triplet", "--model.lr=0.002"]
    config += ["--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--trainer.logger=false"]
    # Lightning 2.6 calls what jsonargparse 4.53 deprecates (Lightning-AI/pytorch-lightning, pytorch/cli.py).
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr(sys, "argv", ["main.py", *config])
    cli = LightningCLI(ReIDModule, ReIDDataModule, save_config_callback=None)
    assert cli.model.hparams["lr"] == 0.002 and cli.datamodule.config.sampler == "pk"
    monkeypatch.setattr(sys, "argv", ["main.py", "fit", "--model.loss=cirle"])
    with pytest.raises(SystemExit):
        LightningCLI(ReIDModule, ReIDDataModule, save_config_callback=None)


def test_an_evaluation_needs_a_small_protocol_and_no_data_module_of_ours(place):
    class Sets(L.LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = data_module()
            self.evaluation_sets: list = []

        def setup(self, stage: str) -> None:
            self.inner.setup(stage)
            self.evaluation_sets = self.inner.evaluation_sets

        def test_dataloader(self) -> list:
            return self.inner.test_dataloader()

        def on_after_batch_transfer(self, batch: CloudBatch, dataloader_idx: int) -> CloudBatch:
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)

    (numbers,) = trainer().test(module(), Sets(), verbose=False)
    assert 0 < numbers["test/tiny/mAP"] <= 100


def test_a_data_module_without_sets_or_identities_is_refused_in_one_line(place):
    class Bare(L.LightningDataModule):
        def train_dataloader(self) -> list:
            return [0]

        val_dataloader = test_dataloader = train_dataloader

    with pytest.raises(InputError, match="num_identities"):
        trainer().fit(module(), Bare())
    with pytest.raises(InputError, match="evaluation_sets"):
        trainer().test(module(), Bare(), verbose=False)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"lr": -1.0}, "lr"), ({"loss_options": {"margn": 1}}, "margin"), ({"model_options": {"kk": 8}}, "kk")],
)
def test_wrong_arguments_of_the_module_are_value_errors_that_name_them(changes, word):
    with pytest.raises(ValueError, match=word) as refused:
        module(**changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes", [{"sampler": "shuffle"}, {"batch_size": 1}, {"density": 1.5}, {"inputs": "image3d"}]
)
def test_wrong_arguments_of_the_data_module_are_value_errors_that_name_them(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        data_module(**changes)


def test_the_data_root_comes_from_the_environment_and_empty_means_not_given(monkeypatch):
    monkeypatch.setenv("OGREID_DATA", "elsewhere with space")
    assert ReIDDataModule().root == Path("elsewhere with space")
    monkeypatch.setenv("OGREID_DATA", "")
    assert ReIDDataModule().root == Path("data")


def test_importing_the_package_loads_nothing_and_changes_nothing():
    code = """\
import logging, os, sys, warnings
before = dict(os.environ), list(warnings.filters), logging.getLogger().level, logging.getLogger("ogreid").level
import ogreid
assert not {"torch", "lightning", "numpy"} & set(sys.modules), "loaded"
assert set(ogreid.__all__) <= set(dir(ogreid))
ogreid.ReIDModule, ogreid.ReIDDataModule, ogreid.RetrievalEvaluation, ogreid.TransferEvaluation, ogreid.OGNet
import ogreid.training.train, ogreid.training.inference
after = dict(os.environ), warnings.filters, logging.getLogger().level, logging.getLogger("ogreid").level
assert before[0] == after[0] and before[2:] == after[2:]
assert not [f for f in after[1] if f not in before[1] and "ogreid" in str(f)]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
