"""Reading ``.npz`` files that may hold pickled objects, without running what they hold.

``np.load(allow_pickle=True)`` runs any code that a file names. Here a pickle may only name what numpy's own pickles
name, and even that does not run: stand-ins record what an array consists of, and plain arrays of numbers and text are
built from the records. (numpy's own ``__setstate__`` trusts its argument: a forged type could read any memory.)
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ogreid import files
from ogreid.errors import InputError

# Opcodes of containers, text and numbers, and those with which numpy's pickles are put together. Not among them: other
# ways to call or name things, and BYTEARRAY8, which takes as much memory as the file says.
OPCODES = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
}
MOST_OPCODES = 5_000_000  # about 5 s; ROMP's results have a few hundred
MOST_VALUES = 5_000_000  # values of all containers together, a shared one counted as often as it occurs
PLAIN_TYPE = re.compile(r"[biufcSU]\d{1,9}")


def read_archive(path: Path, keys: Collection[str] | None = None) -> dict[str, Any]:
    """The arrays of an ``.npz`` file by name; arrays of objects too, as far as their pickle is harmless.

    With ``keys`` only these are opened, and the others come as None.

    Raises:
        InputError: not an archive, one that unpacks to far more than it is, or a pickle that asks for more than data;
            names the file and what it would call.
    """
    try:
        files.check_archive(path)
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            arrays: dict[str, Any] = dict.fromkeys(names)
            for key in names if keys is None else names.keys() & set(keys):
                arrays[key] = files.read_member(archive, names[key], partial(_unpickle, path=path))
            return arrays
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:  # zip, inflate and header parsers raise a dozen unrelated classes for damaged input
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again") from error


def _unpickle(content: IO[bytes], path: Path) -> np.ndarray:
    pickled = content.read()
    try:
        _check_opcodes(pickled)
        return np.asarray(_Builder().build(_DataOnly(pickled, path).load()))
    except InputError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise InputError(f"{path}: its pickled part cannot be read ({error}); write it again") from error


def _check_opcodes(pickled: bytes) -> None:
    for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
        if opcode.name not in OPCODES:
            raise ValueError(f"opcode {opcode.name}, which no data needs")
        # The unpickler keeps a table as long as the highest number in use.
        if number > MOST_OPCODES or (opcode.name.endswith("PUT") and int(argument or 0) > number):
            raise ValueError(f"opcode {opcode.name} {argument}, beyond what its place explains")


class _Type:
    """Stands for ``numpy.dtype``: the name of a plain type, and its byte order."""

    def __init__(self, name: object, *_: object) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def plain(self) -> np.dtype[Any]:
        if not PLAIN_TYPE.fullmatch(self.name):
            raise ValueError(f"an array of type {self.name!r}; expected numbers or text")
        return np.dtype(self.order + self.name)


class _Array:
    """Stands for ``numpy.ndarray``: version, shape, type, order by columns, content."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    @classmethod
    def from_buffer(cls, content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> "_Array":
        array = cls()
        array.state = (1, shape, kind, order == "F", content)
        return array

    @classmethod
    def scalar(cls, kind: _Type, content: bytes) -> "_Array":
        return cls.from_buffer(content, kind, (), "C")


class _Text:
    @classmethod
    def encode_latin1(cls, text: str, encoding: str = "latin1") -> bytes:
        """How Python 2's bytes are written; no other codec is looked up."""
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"text encoded as {encoding!r}")
        return text.encode("latin1")


# Bound methods, because a pickle may set attributes (BUILD) of whatever it names, and a function would keep them.
STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _Text.encode_latin1,
}
for core in ("core", "_core"):  # under numpy 1 and numpy 2
    STAND_INS[f"numpy.{core}.multiarray", "_reconstruct"] = _Array
    STAND_INS[f"numpy.{core}.multiarray", "scalar"] = _Array.scalar
    STAND_INS[f"numpy.{core}.numeric", "_frombuffer"] = _Array.from_buffer


class _DataOnly(pickle.Unpickler):
    """Finds :data:`STAND_INS` and nothing else (Python's documentation, "Restricting Globals")."""

    def __init__(self, pickled: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(pickled))
        self._path = path

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        if (module, name) not in STAND_INS:
            raise InputError(
                f"{self._path}: its pickle asks for {module}.{name}, which is no data and was not run;"
                " do not open this file, save plain arrays instead"
            )
        return STAND_INS[module, name]


class _Builder:
    """Builds arrays from what the stand-ins recorded, and refuses other types and too many values."""

    def __init__(self) -> None:
        self.values = 0

    def build(self, value: object) -> Any:  # noqa: ANN401 - whatever was pickled
        self.values += 1
        if self.values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values")
        if isinstance(value, _Array):
            return self._array(*value.state)
        if isinstance(value, dict):
            return {self.build(key): self.build(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.build(one) for one in value)
        if value is None or isinstance(value, str | bytes | bool | int | float):
            return value
        raise ValueError(f"a {type(value).__name__} where data was expected")

    def _array(self, _: int, shape: tuple[int, ...], kind: _Type, by_columns: bool, content: Any) -> np.ndarray:  # noqa: ANN401
        if kind.name in ("O", "O8"):
            array = np.empty(len(content), dtype=object)
            for place, one in enumerate(content):
                array[place] = self.build(one)
        else:
            self.values += len(content) // 64  # a value each would be too strict; but what is shared is copied here
            array = np.frombuffer(content, dtype=kind.plain()).copy()
        return array.reshape(shape, order="F" if by_columns else "C")
