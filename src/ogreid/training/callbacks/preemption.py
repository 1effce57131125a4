"""Signals: a run that is requested stop finishes its step, saves and leaves; a handler only notes the request."""

import os
import signal
import sys
import threading
from types import FrameType

import lightning as L

from ogreid.config.slurm import requeue, srun_tasks
from ogreid.data.batch import CloudBatch
from ogreid.ops.collectives import all_reduce_max
from ogreid.training.callbacks.checkpointing import LastCheckpoint

_NOTHING, _REQUEUE, _INTERRUPT, _TERMINATE = range(4)
"""Requests; of several the largest is done."""

_REQUESTS = {signal.SIGUSR1: _REQUEUE, signal.SIGINT: _INTERRUPT, signal.SIGTERM: _TERMINATE}


class Stopped(SystemExit):
    """Training stopped because it was requested.

    Its status is 0 after SIGTERM, because whoever preempts a job wants to see it leave well, and 130 after Ctrl-C, so
    that a script does not go on with its next command.
    """

    def __init__(self, request: int) -> None:
        super().__init__(0 if request == _TERMINATE else 130)


class StopAfter(L.Callback):
    """``trainer.max_steps``.

    Not left to Lightning: where it knows of such a limit it counts in another way on resume, and a run that goes on
    from the end of an epoch takes the order of the clouds of the epoch after the next (2.6).

    Args:
        steps: of the optimizer; -1 for no limit.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        self._look(trainer)

    def _look(self, trainer: L.Trainer) -> None:
        if 0 <= self.steps <= trainer.global_step:
            trainer.should_stop = True


class StopOnSignal(L.Callback):
    """SIGTERM and the first Ctrl-C stop between two steps, with a checkpoint; the second Ctrl-C leaves at once.

    Lightning's own handler of SIGTERM talks to the other processes from inside the handler, in the middle of whatever
    they were saying to each other; this one only notes the signal, and the processes agree on the largest note before
    each step. In a validation one process leaves at the next batch, with the checkpoint from before the last step;
    several, whose batches differ in number, leave after it.

    SIGUSR1, where ``srun`` started the run, saves likewise and puts the job back into the queue, in a validation at
    once; SLURM then ends the processes.

    Args:
        keep: what saves.
    """

    def __init__(self, keep: LastCheckpoint) -> None:
        self.keep = keep
        self.noted, self.owner = _NOTHING, 0
        self.requeued = True  # or not to be

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After Lightning has set its handlers; it restores all of them at the end."""
        self.noted, self.owner = _NOTHING, os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows it nowhere else
        signal.signal(signal.SIGTERM, self._note)
        # Who has Ctrl-C ignored means it: a sweep, which decides about its runs itself, or a shell, in the background.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        self.requeued = srun_tasks() is None
        if not self.requeued:
            signal.signal(signal.SIGUSR1, self._note)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: CloudBatch, batch_idx: int
    ) -> None:
        """Between two steps.

        Raises:
            Stopped: when requested.
        """
        request = all_reduce_max(self.noted, pl_module.device)
        if request == _NOTHING or batch_idx % trainer.accumulate_grad_batches:
            return
        self.keep.save_inside(trainer, batch_idx)
        if request != _REQUEUE:
            raise Stopped(request)
        self._requeue()

    def on_validation_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """A validation may be long.

        Raises:
            Stopped: when requested.
        """
        if trainer.world_size == 1 and self.noted > _REQUEUE:
            raise Stopped(self.noted)
        if self.noted == _REQUEUE:
            self._requeue()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What was requested in the last step."""
        if not self.requeued:
            signal.signal(signal.SIGUSR1, lambda *_: self._requeue())
        if self.noted == _REQUEUE:
            self._requeue()

    def _requeue(self) -> None:
        self.noted = _NOTHING if self.noted == _REQUEUE else self.noted
        if not self.requeued and os.getpid() == self.owner:
            self.requeued = requeue()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.owner:
            return  # inherited by a process that was forked from this one
        self.noted = max(self.noted, _REQUESTS[signal.Signals(number)])
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
            message = f"{cursor}\nstopping at the end of this step; Ctrl-C again leaves at once\n"
            os.write(2, message.encode() if int(os.environ.get("LOCAL_RANK", 0)) == 0 else b"")
