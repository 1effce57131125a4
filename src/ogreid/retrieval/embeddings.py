"""Embeddings of a store's sightings as files: ``.npz`` for numpy, ``.parquet`` for tables, ``.faiss`` to be searched.

Parquet (Apache Arrow's ``pyarrow``) and faiss (Douze et al., 2024, arXiv:2401.08281) come with ``ogreid[export]``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ogreid import files
from ogreid.data import Store
from ogreid.errors import InputError
from ogreid.retrieval.directions import directions

__all__ = ["FORMATS", "Embedded", "check_target", "read_kept", "write"]


@dataclass(frozen=True)
class Embedded:
    """Rows of a store and their embeddings.

    Attributes:
        rows: (R,) numbers in the store.
        embedding: (R, D) float32, as the network gives them.
        made_of: checksum of the network and the store.
    """

    rows: np.ndarray
    embedding: np.ndarray
    made_of: str


def check_target(path: Path) -> None:
    """Before anything is computed: the file can be written, and what writes it is installed.

    Raises:
        InputError: unknown kind of file, missing folder, missing package.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: embeddings are written as {', '.join(FORMATS)}; end its name with one of them")
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it or choose another")
    package = _NEEDS.get(path.suffix)
    if package is not None and find_spec(package) is None:
        raise InputError(f'{path}: writing it needs {package}; pip install "ogreid[export]"')


def write(path: Path, store: Store, embedded: Embedded) -> Path:
    """Write the embeddings beside, then rename.

    ``.npz`` and ``.parquet`` hold the columns ``embedding``, ``row`` (number in the store), ``identity``, ``camera``,
    ``split``, ``source`` and say what they were made of. ``.faiss`` holds an exact inner-product index of the
    *normalized* embeddings, whose answers are cosine similarities and row numbers of the store.

    Raises:
        InputError: see :func:`check_target`; for faiss also an embedding without a direction.
    """
    check_target(path)
    part = path.with_name(path.name + ".part")
    FORMATS[path.suffix](part, store, embedded)
    part.replace(path)
    return path


def read_kept(path: Path) -> tuple[np.ndarray, str]:
    """Embeddings (R, D) of an ``.npz`` that :func:`write` made, and what they were made of.

    Raises:
        InputError: it is no such file.
    """
    try:
        held = files.read_arrays(path)
        return np.asarray(held["embedding"]), str(held["made_of"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not embeddings that this program kept ({error}); delete it") from error


def _columns(store: Store, embedded: Embedded) -> dict[str, np.ndarray]:
    told = store.rows[embedded.rows]
    return {
        "row": embedded.rows,
        "identity": told["identity"],
        "camera": told["camera"],
        "split": told["split"].astype(str),
        "source": told["source"].astype(str),
    }


def _write_npz(path: Path, store: Store, embedded: Embedded) -> None:
    columns = {"embedding": embedded.embedding} | _columns(store, embedded)
    with path.open("wb") as file:
        np.savez(file, made_of=np.array(embedded.made_of), **columns)  # type: ignore[arg-type]  # see callbacks.sightings


def _write_parquet(path: Path, store: Store, embedded: Embedded) -> None:
    import pyarrow
    from pyarrow import parquet

    flat = pyarrow.array(np.ascontiguousarray(embedded.embedding, dtype=np.float32).reshape(-1))
    columns = {"embedding": pyarrow.FixedSizeListArray.from_arrays(flat, embedded.embedding.shape[1])}
    table = pyarrow.table(columns | _columns(store, embedded))
    told = {"ogreid.store": store.name, "ogreid.made_of": embedded.made_of}
    parquet.write_table(table.replace_schema_metadata(told), path)


def _write_faiss(path: Path, store: Store, embedded: Embedded) -> None:
    import faiss

    unit = directions(embedded.embedding, "embedding")
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(unit.shape[1]))
    index.add_with_ids(unit, embedded.rows.astype(np.int64))
    faiss.write_index(index, str(path))


FORMATS: dict[str, Callable[[Path, Store, Embedded], None]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".faiss": _write_faiss,
}
_NEEDS = {".parquet": "pyarrow", ".faiss": "faiss"}
