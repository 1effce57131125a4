"""The embeddings of the last validation, kept for other programs."""

from pathlib import Path

import lightning as L
import numpy as np

from ogreid.training.callbacks.pictures import collected_sets

__all__ = ["KeepEmbeddings"]


class KeepEmbeddings(L.Callback):
    """Writes ``embeddings/<set>.npz``: ``embedding``, ``row``, ``identity``, ``camera``, ``source``, ``query``.

    Args:
        folder: where to; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Each validation replaces what the one before wrote."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        for judged, rows, _ in collected_sets(trainer):
            index = rows.index.cpu().numpy()
            store_rows = judged.rows[index]
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{judged.name.replace('/', '-')}.npz"
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(
                    file,
                    embedding=rows.embedding.cpu().numpy(),
                    row=store_rows,
                    identity=rows.identity.cpu().numpy(),
                    camera=rows.camera.cpu().numpy(),
                    source=judged.store.rows["source"][store_rows].astype(str),
                    query=index < judged.queries,
                )
            part.replace(path)
