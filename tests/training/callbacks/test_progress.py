"""The bar counts as people count, and says what is wrong."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch

from ogreid.training.callbacks.progress import TrainingProgress


class Learner(L.LightningModule):
    """One weight, and what the bar shows while it learns."""

    def __init__(self, bar):
        super().__init__()
        self.weight, self.bar, self.shown = torch.nn.Parameter(torch.ones(1)), bar, []

    def training_step(self, batch, batch_idx):
        self.shown.append(self.bar.progress.tasks[self.bar.train_progress_bar_id].description.strip())
        return (self.weight * batch.sum()) ** 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        ({"max_epochs": 3}, ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]),
        ({"max_epochs": -1, "max_steps": 2}, ["Epoch 1", "Epoch 2"]),
    ],
)
def test_the_first_of_three_epochs_is_one_of_three(limit, shown, tmp_path):
    bar = TrainingProgress(leave=False)
    learner = Learner(bar)
    trainer = L.Trainer(
        **limit,
        accelerator="cpu",
        callbacks=[bar],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=tmp_path,
    )
    trainer.fit(learner, torch.utils.data.DataLoader(torch.ones(1, 1)))
    assert learner.shown == shown


def test_the_bar_says_that_the_embedding_collapsed():
    trainer = SimpleNamespace(callback_metrics={"val/mAP": 1.5})
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5"}
    trainer.callback_metrics["val/tiny/collapsed"] = 1
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5", "embedding": "collapsed"}
    trainer.callback_metrics["val/tiny/collapsed"] = 0  # Lightning remembers what was logged before
    assert TrainingProgress().get_metrics(trainer, None) == {"mAP": "1.5"}
