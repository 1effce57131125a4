"""What surrounds a training: its log file, its errors in plain words, one process that speaks for all."""

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ogreid.errors import InputError
from ogreid.runs import Run
from ogreid.training.callbacks.nan_guard import BadStep
from ogreid.training.callbacks.preemption import Stopped
from ogreid.training.distributed import rank


def remove_empty(run: Run) -> None:
    """Delete the folder of a run that wrote no checkpoint, and the folders of runs that it leaves empty."""
    shutil.rmtree(run.folder, ignore_errors=True)
    for parent in (run.folder.parent, run.folder.parent.parent):
        with suppress(OSError):
            parent.rmdir()  # unless it holds other runs


@contextmanager
def one_process_speaks() -> Iterator[None]:
    """Of several processes the first one says why a run ends; the others leave with status 0.

    Lightning's launcher kills everything where one of its processes leaves with another status.
    """
    try:
        yield
    except (Stopped, BadStep):
        if rank():
            raise SystemExit(0) from None
        raise
    except SystemExit as left:
        # Lightning makes status 1 of a Ctrl-C that comes before the first step or after the last one.
        if isinstance(left.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


@contextmanager
def plain_errors(run: Run) -> Iterator[None]:
    """A disk that is full, and an operation that cannot be deterministic, are no faults of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{error.filename or run.folder}: cannot be written ({error.strerror}); make room, then resume with "
            f"python -m ogreid.fit --resume {run.folder}"
        ) from error
    except RuntimeError as error:
        operation, matched, _ = str(error).partition(" does not have a deterministic implementation")
        if not matched:
            raise
        raise InputError(
            f"trainer.deterministic=true: {operation} has no deterministic form on this device; leave the setting out, "
            f"or train with trainer.accelerator=cpu"
        ) from error


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """What is logged, from debug level on, also goes to a file while a run trains."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours, lightning = logging.getLogger("ogreid"), logging.getLogger("lightning.pytorch")
    level = ours.level
    ours.setLevel(logging.DEBUG)
    for logger in (ours, lightning):
        logger.addHandler(handler)
    try:
        yield
    finally:
        ours.setLevel(level)
        for logger in (ours, lightning):
            logger.removeHandler(handler)
        handler.close()
