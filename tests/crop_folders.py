"""A folder of crops, packed, and networks that embed it."""

from pathlib import Path

import numpy as np
from PIL import Image

from ogreid import pack

STORE = "people-folder"
NETWORKS = {
    "ognet": {"channels": [8, 16], "num_kept": [64, 16], "k": 4, "embedding": 16},
    "shufflenetv2": {"size": [32, 16], "embedding": 16},
}


def write_crops(folder: Path, *, identities: int = 4, cameras: int = 2, spread: float = 0) -> Path:
    """Crops with one color per identity, which differs by ``spread`` between cameras."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for identity in range(1, identities + 1):
        color = rng.uniform(40, 215, 3)
        for camera in range(1, cameras + 1):
            crop = rng.normal(color + rng.normal(0, spread, 3), 20, (128, 64, 3))
            image = Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8))
            image.save(folder / f"{identity:04}_c{camera}s1_000001_00.png")
    return folder


def pack_crops(images: Path, root: Path) -> None:
    """Pack the store ``people-folder`` under ``root``."""
    assert pack.main([STORE, "--images", str(images), "--data", str(root), "--workers", "1"]) == 0


def predict_and_save(root: Path, checkpoint: Path, inputs: str = "scene") -> dict[str, np.ndarray]:
    """A plain Trainer's embedding of each crop of the store, by source; its network is saved to ``checkpoint``."""
    # Here, because conftest imports this file before the type checks of the networks are installed.
    import lightning as L

    from ogreid import ReIDDataModule, ReIDModule

    name = "shufflenetv2" if inputs == "crop" else "ognet"
    L.seed_everything(0, verbose=False)
    module = ReIDModule(name, model_options=NETWORKS[name], loss="ce")
    data = ReIDDataModule(root, train=(), test=STORE, num_points=256, inputs=inputs, num_workers=0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, **quiet)
    batches = trainer.predict(module, data)
    trainer.save_checkpoint(checkpoint)
    return {source: row for batch in batches for source, row in zip(batch.source, batch.embedding.numpy(), strict=True)}
