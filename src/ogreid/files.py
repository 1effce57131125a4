"""Files: written in one step, locked, and read within bounds where somebody else wrote them.

The readers raise ``OSError`` or ``ValueError`` with the bare reason, whatever the library below them raised; the caller
adds the file, what it was taken for and the way out. Nothing that they read is run.
"""

import codecs
import errno
import io
import json
import math
import os
import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from ogreid.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

MEBI = 1 << 20
LONGEST_SETTINGS = 100_000  # bytes; the longest settings we know of are a released opts.yaml of 2 000
MOST_SETTINGS = 10_000  # values in settings, each counted wherever an alias repeats it
DEEPEST = 32  # groups within groups
FREE_UNPACKING = 256 * MEBI  # bytes that an archive may unpack to, however small it is
MOST_UNPACKING = 20  # times its own size beyond that; arrays of bodies shrink by 4 at most
BYTEARRAYS = (
    b"builtins\nbytearray",
    b"__builtin__\nbytearray",
)  # what torch's safe unpickler would make of any size

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file that is written beside ``path``, synchronized and renamed at the end.

    A reader sees the old file or the new one, never half of one; where writing fails, what was there stays.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that goes down may have renamed a file without its content
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # the disk that did not take the file may not answer either
            part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a UTF-8 text file in one step."""
    with atomic_write(path) as file:
        file.write(text.encode())


def try_lock(path: Path, timeout: float = 0) -> FileLock | None:
    """The lock file, held until its ``release()``; None where another process still holds it after ``timeout`` seconds.

    The system releases it when its holder ends, however it ends.
    """
    file_lock = FileLock(path, timeout=timeout)
    try:
        file_lock.acquire()
    except Timeout:
        return None
    return file_lock


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Wait until no other process is inside, and keep the others out.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file_lock = try_lock(path, timeout=-1)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written ({error.strerror}); choose another folder") from error
    assert file_lock is not None
    try:
        yield
    finally:
        file_lock.release()


def _bare_reason(read: Callable[P, T]) -> Callable[P, T]:
    """Turn whatever a broken file makes a library raise into the ``ValueError`` that this module promises."""

    @wraps(read)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (OSError, ValueError):
            raise
        # zip, YAML, pickle and header parsers raise a dozen unrelated classes for damaged input, some of them bare.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{type(error).__name__}{': ' if reason else ''}{reason}") from error

    return wrapper


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content, where it is a regular file of at most ``most`` bytes: no pipe is waited for, no device read."""
    size = _size(path)
    if size > most:
        raise ValueError(f"{size} bytes; such a file has {most} at most")
    with path.open("rb") as file:
        return file.read(size)  # not `most`, for which a buffer would be made at once


def plain_text(content: bytes) -> bytes:
    """Text of any system as UTF-8 without a byte order mark, its lines ended by a line feed alone.

    UTF-16 is known by its mark; what has none is taken as it is, so that comments may be of any encoding.

    Raises:
        ValueError: UTF-16 that is cut off.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _size(path: Path) -> int:
    """Bytes of a regular file; opening a pipe would wait for its writer, and a device has no end."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    return status.st_size


@_bare_reason
def read_json(path: Path, most: int = MEBI) -> Any:  # noqa: ANN401 - what the file holds
    """What a JSON file holds; its numbers must be finite."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(read_bytes(path, most), parse_constant=refuse)


@_bare_reason
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


@_bare_reason
def check_archive(path: Path) -> None:
    """Refuse a zip archive that would unpack to far more than it is itself."""
    size = _size(path)
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    if claimed > FREE_UNPACKING + MOST_UNPACKING * size:
        raise ValueError(f"{size} bytes that unpack to {claimed / 1e9:.1f} GB")


@_bare_reason
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


@_bare_reason
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


def _check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != size:
        raise ValueError(f"{name}: the header says {claimed} bytes {shape} {dtype}, the file holds {size}")


@_bare_reason
def read_tensors(path: Path) -> Any:  # noqa: ANN401 - what the file holds
    """What ``torch.save`` wrote, on the CPU: tensors and plain containers, nothing else."""
    import torch

    size = _size(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        check_archive(path)
    else:
        _check_start(path)
    if any(word in _pickled(path, zipped) for word in BYTEARRAYS):
        raise ValueError("asks for a bytearray, which no checkpoint holds")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words recommend to load it unsafely
        raise ValueError(
            "damaged, or more than plain tensors, which is not read because it could run a program"
        ) from error
    _check_tensors(content, size)
    return content


def _check_tensors(content: object, size: int) -> None:
    """Refuse tensors that a copy would blow up: one number seen a billion times, or numbers of which most are zero."""
    import torch

    left, met = [content], set[int]()
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
