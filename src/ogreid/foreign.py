"""Reading files that somebody else wrote: within bounds that are known before, and nothing in them is run.

Everything here raises ``OSError`` or ``ValueError`` with the bare reason, whatever the library below raised; the caller
adds the file, what it was taken for and the way out.
"""

import errno
import io
import json
import math
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

__all__ = [
    "check_archive",
    "check_plain",
    "map_array",
    "read_array",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_member",
    "read_tensors",
    "read_yaml",
]

MEBI = 1 << 20
LONGEST_SETTINGS = 100_000  # bytes; the longest settings we know of are a released opts.yaml of 2 000
MOST_SETTINGS = 10_000  # values in settings, each counted wherever an alias repeats it
DEEPEST = 32  # groups within groups
FREE_UNPACKING = 256 * MEBI  # bytes that an archive may unpack to, however small it is
MOST_UNPACKING = 20  # times its own size beyond that; arrays of bodies shrink by 4 at most
MADE_LARGE = b"builtins\nbytearray", b"__builtin__\nbytearray"  # what torch's safe unpickler would make of any size

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def _with_the_bare_reason(read: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """Turn whatever a broken file makes a library raise into the ``ValueError`` that this module promises."""

    @wraps(read)
    def told(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        try:
            return read(*args, **kwargs)
        except (OSError, ValueError):
            raise
        # zip, YAML, pickle and header parsers raise a dozen unrelated classes for damaged input, some of them bare.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{type(error).__name__}{': ' if reason else ''}{reason}") from error

    return told


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content, where it is a regular file of at most ``most`` bytes: no pipe is waited for, no device read."""
    size = _size(path)
    if size > most:
        raise ValueError(f"{size} bytes; such a file has {most} at most")
    with path.open("rb") as file:
        return file.read(size)  # not `most`, for which a buffer would be made at once


def _size(path: Path) -> int:
    """Bytes of a regular file; opening a pipe would wait for its writer, and a device has no end."""
    told = path.stat()
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(told.st_mode):
        raise ValueError("not a regular file")
    return told.st_size


@_with_the_bare_reason
def read_json(path: Path, most: int = MEBI) -> Any:  # noqa: ANN401 - what the file holds
    """What a JSON file holds; its numbers must be finite."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(read_bytes(path, most), parse_constant=refuse)


@_with_the_bare_reason
def read_yaml(path: Path) -> "DictConfig | ListConfig":
    """Settings as plain values; aliases are followed as long as they stay few ("billion laughs" do not)."""
    import yaml
    from omegaconf import OmegaConf

    text = read_bytes(path, LONGEST_SETTINGS).decode("utf-8-sig")
    _count(yaml.compose(text, Loader=yaml.SafeLoader), lambda node: node.value if isinstance(node, yaml.Node) else node)
    loaded = OmegaConf.load(io.StringIO(text))
    check_plain(OmegaConf.to_container(loaded))
    return loaded


def check_plain(value: object) -> None:
    """Refuse what no settings hold: other types than text, numbers, lists and groups, or too much of them."""
    _count(value, _plain_parts)


def _plain_parts(value: object) -> object:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number beyond 64 bits")
    if value is not None and not isinstance(value, str | bool | int | float | list | tuple):
        raise ValueError(f"a {type(value).__name__} among plain values")
    return value


def _count(whole: object, parts: Callable[[Any], object]) -> None:
    """Walk lists within lists, what is shared as often as it is met, until it is too much."""
    left, met = [(whole, 0)], 0
    while left:
        value, depth = left.pop()
        met += 1
        if met > MOST_SETTINGS or depth > DEEPEST:
            raise ValueError(f"more than {MOST_SETTINGS} values, or {DEEPEST} groups within each other")
        inner = parts(value)
        if isinstance(inner, list | tuple):
            left += [(one, depth + 1) for one in inner]


@_with_the_bare_reason
def check_archive(path: Path) -> None:
    """Refuse a zip archive that would unpack to far more than it is itself."""
    size = _size(path)
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    if claimed > FREE_UNPACKING + MOST_UNPACKING * size:
        raise ValueError(f"{size} bytes that unpack to {claimed / 1e9:.1f} GB")


@_with_the_bare_reason
def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; plain numbers and text only, no pickled objects."""
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): read_member(archive, name) for name in names}


def read_member(archive: zipfile.ZipFile, name: str, objects: Callable[[IO[bytes]], np.ndarray] | None = None) -> Any:  # noqa: ANN401
    """One array of an archive, whose size was compared with its header before memory was taken for it.

    Args:
        archive: checked by :func:`check_archive`.
        name: of the member.
        objects: reads what follows the header of an array of objects; refused where it is None.
    """
    with archive.open(name) as member:
        shape, dtype = _header(member)
        if dtype.hasobject:
            if objects is None:
                raise ValueError(f"{name}: pickled objects, which are not read")
            return objects(member)
        _check_size(name, shape, dtype, archive.getinfo(name).file_size - member.tell())
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


@_with_the_bare_reason
def map_array(path: Path) -> np.memmap:
    """A ``.npy`` file by memory map: nothing is read but its header, which must fit the file's size exactly."""
    size = _size(path)
    with path.open("rb") as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError("pickled objects, which are not read")
        _check_size(path.name, shape, dtype, size - file.tell())
    return np.lib.format.open_memmap(path, mode="r")


def read_array(path: Path) -> np.ndarray:
    """A ``.npy`` file as an array in memory; plain numbers and text only."""
    return np.array(map_array(path))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], held: int) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != held:
        raise ValueError(f"{name}: the header says {claimed} bytes {shape} {dtype}, the file holds {held}")


@_with_the_bare_reason
def read_tensors(path: Path) -> Any:  # noqa: ANN401 - what the file holds
    """What ``torch.save`` wrote, on the CPU: tensors and plain containers, nothing else."""
    import torch

    size = _size(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        check_archive(path)
    else:
        _check_start(path)
    if any(word in _pickled(path, zipped) for word in MADE_LARGE):
        raise ValueError("asks for a bytearray, which no checkpoint holds")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words recommend to load it unsafely
        raise ValueError(
            "damaged, or more than plain tensors, which is not read because it could run a program"
        ) from error
    _check_tensors(held, size)
    return held


def _check_tensors(held: object, size: int) -> None:
    """Refuse tensors that a copy would blow up: one number seen a billion times, or numbers of which most are zero."""
    import torch

    left, met = [held], set[int]()
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
            if not plain or value.numel() * value.element_size() > size:
                raise ValueError(f"a tensor {tuple(value.shape)} that is not stored number by number")
        elif isinstance(value, dict | list | tuple | set) and id(value) not in met:
            met.add(id(value))
            left += [*value, *value.values()] if isinstance(value, dict) else value


def _check_start(path: Path) -> None:
    """Tell half an archive, and what was never a checkpoint, from the plain pickles of old versions of torch."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        raise ValueError("cut off: the end of the archive is missing")
    if start[:1] != b"\x80":
        raise ValueError("nothing that torch.save wrote")


def _pickled(path: Path, zipped: bool) -> bytes:
    if not zipped:
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
