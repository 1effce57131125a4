"""What a number was made with."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ogreid", "torch", "lightning", "torchmetrics", "numpy", "numba", "wandb")


def provenance() -> dict[str, str]:
    """Git revision, versions and machine."""
    versions = {name: _version(name) for name in PACKAGES}
    return {"git": _revision(), "python": platform.python_version(), "platform": platform.platform(), **versions}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _revision() -> str:
    """The revision of the source checkout; "unknown" where the package was installed without one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
