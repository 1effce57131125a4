"""A reader of hostile files under watch: what it opens, starts and takes, and how it ends."""

import os
import re
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ogreid
from ogreid.errors import InputError

MEMORY = 1 << 30  # bytes that a reader may take beyond what the process has
SECONDS = 60  # a reader that takes longer hangs
STARTED = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"}
STARTED |= {"socket.connect", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link"}
STARTED |= {"shutil.rmtree"}
PACKAGE = Path(ogreid.__file__).parent
OURS = (*set(sysconfig.get_paths().values()), sys.prefix, sys.base_prefix, str(PACKAGE))
OURS += (str(PACKAGE.parents[1] / "experiments"),)


class Watch:
    """An audit hook (PEP 578), which sees whatever Python code or an extension opens or starts, while it is looking."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, event: str, details: tuple) -> None:
        if self.folder is None:
            return
        path = os.path.abspath(os.fsdecode(details[0])) if details and isinstance(details[0], str | bytes) else ""
        if path.startswith(OURS) and "__pycache__" in path:  # where Python and numba keep compiled code
            return
        if event in STARTED:
            self.seen.append(f"{event} {details}")
        elif event == "open" and path:
            allowed = (self.folder,) if re.search("[wax+]", details[1] or "r") else (self.folder, *OURS)
            if not path.startswith((*allowed, "/proc/", "/sys/", "/dev/urandom", "/dev/null")):
                self.seen.append(f"opened {path} {details[1]}")

    @contextmanager
    def inside(self, folder: Path) -> Iterator[None]:
        """Only ``folder`` may be read and written, nothing started; memory and time have an end."""
        self.folder, self.seen = str(folder.resolve()), []
        before = resource.getrlimit(resource.RLIMIT_AS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
        signal.signal(signal.SIGALRM, _hangs)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            resource.setrlimit(resource.RLIMIT_AS, before)
            self.folder = None


def _hangs(*_: object) -> None:
    raise AssertionError(f"hangs: not done after {SECONDS} s")


WATCH = Watch()


def survives(read: Callable[[Path, str], object], folder: Path, name: str) -> bool:
    """Whether a reader accepts; every other way out than one line of ``InputError`` fails the test."""
    with WATCH.inside(folder):
        try:
            read(folder, name)
            accepted = True
        except InputError as error:
            accepted = False
            assert "\n" not in str(error), f"more than one line: {error}"
            assert len(str(error)) < 2000, f"{len(str(error))} characters of message"
    assert not WATCH.seen, f"a file made its reader do more than read: {WATCH.seen[:3]}"
    return accepted
