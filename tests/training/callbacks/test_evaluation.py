"""What the evaluation says beside its numbers: a network that distinguishes nobody."""

from torch import nn

from ogreid import ReIDDataModule, ReIDModule, RetrievalEvaluation
from ogreid.training.trainer import evaluation_trainer


class Flat(nn.Module):
    """Maps every cloud to one point, up to ``spread``."""

    spread = 0.0

    def forward(self, xyz, rgb):
        return 1 + self.spread * rgb.mean(dim=1)


def test_a_network_that_distinguishes_nobody_is_warned_of_until_that_ends(stores, tmp_path, caplog):
    stores("tiny")
    evaluation, network = RetrievalEvaluation(), Flat()
    data = ReIDDataModule(tmp_path / "data", train=(), test="tiny", num_points=64, num_workers=0)
    trainer = evaluation_trainer([evaluation], accelerator="cpu", devices=1, enable_progress_bar=False)
    collapsed = []
    for network.spread in (1e-6, 1e-6, 1.0, 1.0, 1e-6):
        (numbers,) = trainer.test(ReIDModule(network, scales=(1.0,)), data, verbose=False)
        collapsed.append(numbers.get("test/tiny/collapsed"))
        assert evaluation.results["tiny"].summary()["queries"] == 8
    assert collapsed == [1, 1, 0, None, 1]
    messages = [entry.getMessage() for entry in caplog.records if "point the same way" in entry.getMessage()]
    assert len(messages) == 2
    assert all(text.startswith("tiny: all 16 embeddings") and "optimizer.lr" in text for text in messages)
