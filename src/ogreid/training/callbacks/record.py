"""Every checkpoint says what it was made with."""

from typing import Any

import lightning as L

from ogreid import config, runs
from ogreid.config import Experiment

__all__ = ["Record"]


class Record(L.Callback):
    """Adds ``checkpoint["ogreid"]``: the resolved experiment, the number of identities, git revision, versions.

    Plain types only, so that the file loads with ``weights_only=True``.
    """

    def __init__(self, experiment: Experiment, identities: int) -> None:
        self.record = {
            "experiment": config.to_dict(experiment),
            "identities": identities,
            "provenance": runs.provenance(),
        }

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        checkpoint["ogreid"] = self.record
