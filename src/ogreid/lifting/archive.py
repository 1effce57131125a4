"""Reading ``.npz`` files that may hold pickled objects, without running what they hold.

``np.load(allow_pickle=True)`` runs any code that a file asks for. Here a pickle may only rebuild arrays, numbers, text
and plain containers; everything else is refused before it is made.
"""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from ogreid.errors import UserError

__all__ = ["read_archive"]

# What numpy's own pickles name, under numpy 1 and numpy 2. `_codecs.encode` turns text into bytes, no more.
ALLOWED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


def read_archive(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz`` file by name; arrays of objects too, as far as their pickle is harmless.

    Raises:
        UserError: not an archive, or a pickle that asks for more than data; names the file and what it asked for.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): _read_member(archive, name, path)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable .npz file ({error}); write it again") from error


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if read(member)[2].hasobject:
            return _unpickle(member, path)
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _unpickle(content: IO[bytes], path: Path) -> np.ndarray:
    try:
        return np.asarray(_DataOnly(content, path).load())
    except UserError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise UserError(f"{path}: its pickled part cannot be read ({error}); write it again") from error


class _DataOnly(pickle.Unpickler):
    """Finds :data:`ALLOWED` names and nothing else (Python's documentation, "Restricting Globals")."""

    def __init__(self, content: IO[bytes], path: Path) -> None:
        super().__init__(content)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in pickle
        """Refuse what is not data."""
        if (module, name) not in ALLOWED:
            raise UserError(
                f"{self._path}: its pickle asks for {module}.{name}, which is no data and was not run;"
                " do not open this file, save plain arrays instead"
            )
        return super().find_class(module, name)
