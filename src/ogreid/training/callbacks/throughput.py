"""How fast training goes, in clouds per second over all processes."""

import time

import lightning as L

from ogreid.data.batch import CloudBatch


class Throughput(L.Callback):
    """Logs ``train/clouds_per_second`` and keeps the totals for the summary.

    Only the time between the starts of steps counts, so that validation and checkpoints are left out. The first steps,
    which compile kernels, are left out too.

    Args:
        skip: steps at the start that are not counted.
        smooth: weight of the newest step in the running value that the progress bar shows.
    """

    def __init__(self, skip: int = 3, smooth: float = 0.1) -> None:
        self.skip, self.smooth = skip, smooth
        self.steps, self.clouds, self.seconds = 0, 0, 0.0
        self.running: float | None = None
        self._last: float | None = None
        self.started = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the run was started, of all its parts as far as the checkpoints between them."""
        return time.perf_counter() - self.started

    def state_dict(self) -> dict[str, float]:
        return {"clouds": self.clouds, "seconds": self.seconds, "elapsed": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """A resumed run adds its own time to that before the checkpoint."""
        self.clouds, self.seconds = int(state_dict["clouds"]), state_dict["seconds"]
        self.started -= state_dict["elapsed"]

    @property
    def clouds_per_second(self) -> float | None:
        """Mean over all counted steps; None before there is one."""
        return self.clouds / self.seconds if self.seconds else None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What lies between two epochs is not training."""
        self._last = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: CloudBatch, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.steps += 1
        if self._last is not None and self.steps > self.skip:
            clouds, seconds = len(batch.index) * trainer.world_size, now - self._last
            self.clouds += clouds
            self.seconds += seconds
            rate = clouds / seconds
            self.running = rate if self.running is None else self.running + self.smooth * (rate - self.running)
            pl_module.log("train/clouds_per_second", self.running, batch_size=1, on_step=True, on_epoch=False)
        self._last = now
