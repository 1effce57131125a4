"""Fetch the landmark network of ``--bodies estimate``: ``python scripts/pose_model.py [--to FILE] [--wheel FILE]``.

It is a member of a released wheel, which pip downloads and which is never installed; nothing of it is shipped.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ogreid import files
from ogreid.config import command_line, data_root
from ogreid.errors import InputError
from ogreid.lifting.landmarks import CARD, LICENSE, MODEL_FILE, MODEL_SHA256

PACKAGE = "mediapipe==0.10.21"  # later wheels hold no weights
SMALLEST, LARGEST = 1 << 20, 1 << 25  # bytes of the network


def main(argv: list[str] | None = None) -> int:
    parser = command_line.Parser(prog="python scripts/pose_model.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--to", type=Path, metavar="FILE", help=f"default: {MODEL_FILE} in OGREID_DATA, else data")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help=f"of {PACKAGE}, where it is already there")
    arguments = parser.parse_args(argv)
    target = arguments.to or data_root() / MODEL_FILE
    if not (target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == MODEL_SHA256):
        if arguments.wheel:
            network = network_in(arguments.wheel)
        else:
            with tempfile.TemporaryDirectory() as folder:
                network = network_in(download(Path(folder)))
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(target) as file:
            file.write(network)
    sys.stdout.write(f"{target}\n{LICENSE}\n{CARD}\n")
    return 0


def download(folder: Path) -> Path:
    """The wheel, by pip; whatever platform it is for, the network in it is the same."""
    options = ["--no-deps", "--python-version", "3.12", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", *options, PACKAGE]
    if subprocess.run(command, check=False).returncode:
        raise InputError(
            f"pip could not download {PACKAGE}; download its wheel elsewhere and give it with --wheel FILE"
        )
    return next(folder.glob("*.whl"))


def network_in(wheel: Path) -> bytes:
    """The bytes of the network, whose checksum is right."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(f"/{MODEL_FILE}")]
            sizes = [one.file_size for one in members]
            if len(members) != 1 or not SMALLEST < sizes[0] < LARGEST:
                raise ValueError(f"{MODEL_FILE} {len(members)} times in it, {sizes} bytes; expected once")
            network = archive.read(members[0])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{wheel}: not the wheel of {PACKAGE} ({error}); download it again") from error
    digest = hashlib.sha256(network).hexdigest()
    if digest != MODEL_SHA256:
        raise InputError(f"{wheel}: {MODEL_FILE} has sha256 {digest}, expected {MODEL_SHA256}; download it again")
    return network


if __name__ == "__main__":
    command_line.run(main)
