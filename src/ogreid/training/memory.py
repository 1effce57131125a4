"""How much memory there is, checked before something large is made."""

from pathlib import Path

import torch

from ogreid.errors import InputError


def free_memory(device: str = "cpu") -> int | None:
    """Bytes that can be had on ``cpu`` or ``cuda`` now; None where the system does not say.

    On a CPU it is what Linux calls available, or what is left of the container's limit where that is less.
    """
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    known = [_available(Path("/proc/meminfo")), _left_in_container(Path("/sys/fs/cgroup"))]
    return min((bytes_ for bytes_ in known if bytes_ is not None), default=None)


def readable_size(count: float) -> str:
    """Bytes for people: ``3.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _available(table: Path) -> int | None:
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None  # no Linux
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_container(group: Path) -> int | None:
    try:
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        files = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return None  # no container, or one of the first version
    # Pages of files that were read count as used, and are given back when they are needed.
    return None if most == "max" else int(most) - int(used) + int(files.get("inactive_file", 0))


def check_classifier(width: int, identities: int, device: str) -> None:
    """Refuse a classifier whose training does not fit into memory, before anything is allocated.

    Args:
        width: of the embedding.
        identities: classes.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: with its size (weights, gradient and Adam's three states with amsgrad) and what is free.
    """
    needed, free = 5 * 4 * (width + 1) * identities, free_memory(device)
    if free is not None and needed > free:
        raise InputError(
            f"a classifier of {identities} identities x {width} takes {readable_size(needed)} (weights, gradient and "
            f"Adam states), and {readable_size(free)} are free ({device}); set model.embedding lower, or train on "
            "fewer identities"
        )
