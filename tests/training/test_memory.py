"""What does not fit into memory is refused before it is allocated."""

import pytest

from ogreid import ReIDDataModule, ReIDModule
from ogreid.errors import InputError
from ogreid.training import memory
from ogreid.training.trainer import evaluation_trainer


def test_a_classifier_too_large_for_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**30)
    memory.check_classifier(512, 100_000, "cpu")
    with pytest.raises(InputError, match=r"2000000 identities x 512 takes 19\.1 GiB.*1\.0 GiB"):
        memory.check_classifier(512, 2_000_000, "cpu")
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    memory.check_classifier(512, 10**12, "cpu")  # on a system that does not say


def test_it_is_refused_before_anything_is_allocated(place):
    data = ReIDDataModule("data", train="tiny", test="tiny", num_points=64, batch_size=8, num_workers=0)
    trainer = evaluation_trainer([], max_epochs=1, accelerator="cpu", devices=1, enable_progress_bar=False)
    module = ReIDModule("ognet")
    module.hparams["num_identities"] = 10**12
    with pytest.raises(InputError, match="1000000000000 identities"):
        trainer.fit(module, data)
