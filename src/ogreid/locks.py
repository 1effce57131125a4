"""One process at a time makes a thing: a lock file beside it, which the system lets go of when its holder ends."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ogreid.errors import UserError

__all__ = ["alone", "held", "release"]

log = logging.getLogger(__name__)


def held(path: Path, *, wait: bool = False) -> IO[bytes] | None:
    """The lock file, open and held; None where another process holds it and nobody waits.

    Who is done deletes the file before letting go of it (:func:`release`): a process that opened it until then holds a
    file that has no name any more, and asks again.
    """
    while True:
        file = path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not wait:
                file.close()
                return None
            log.info("%s: another process makes it; waiting", path.with_suffix(""))
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            file.write(f"{os.getpid()}\n".encode())
            file.flush()
            return file
        file.close()


def release(path: Path, file: IO[bytes]) -> None:
    """Let go of what :func:`held` gave."""
    path.unlink(missing_ok=True)
    file.close()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is inside, and keep the others outside.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = held(path, wait=True)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be written ({error.strerror}); choose another folder of data"
        ) from error
    assert file is not None
    try:
        yield
    finally:
        release(path, file)
