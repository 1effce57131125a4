"""Embeddings as files: ``.npz`` for numpy, ``.parquet`` for tables, ``.faiss`` to be searched.

Parquet (Apache Arrow's ``pyarrow``) and faiss (Douze et al., 2024, arXiv:2401.08281) come with ``ogreid[export]``.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from ogreid.errors import InputError, MissingFileError
from ogreid.files import atomic_write, read_arrays
from ogreid.retrieval.protocol import integers, to_numpy
from ogreid.retrieval.unit_vectors import unit_vectors

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Embeddings:
    """Embeddings of R detections, and whose they are; made of arrays or tensors.

    Attributes:
        embedding: (R, D) float32, as the network gives them.
        identity: (R,) int64; -1 where it is not known.
        camera: (R,) int64.
        index: (R,) int64, for example rows of a store.
        source: (R,) text, the file of each detection.
        split: (R,) text, or None where there are no splits.
        fingerprint: checksum of what they were computed with and from, or empty.

    Raises:
        InputError: columns that are not of one length, or not of their type.
    """

    embedding: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    index: np.ndarray
    source: np.ndarray
    split: np.ndarray | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        rows = to_numpy("embedding", self.embedding)
        if rows.ndim != 2 or rows.dtype.kind not in "fiu":
            raise InputError(f"embedding: expected (R, D) real numbers, got {rows.shape} {rows.dtype}")
        self.embedding = rows.astype(np.float32, copy=False)
        for name in ("identity", "camera", "index"):
            setattr(self, name, integers(name, getattr(self, name), len(self.embedding)))
        for name in ("source",) if self.split is None else ("source", "split"):
            setattr(self, name, np.asarray(getattr(self, name)).astype(str))
            if (shape := getattr(self, name).shape) != (len(self.embedding),):
                raise InputError(f"{name}: expected {len(self.embedding)} texts, got the shape {shape}")

    def normalized(self) -> "Embeddings":
        """The same with unit vectors, whose dot products are cosine similarities; refuses zero and NaN."""
        return self.replace(embedding=unit_vectors(self.embedding, "embedding"))

    def columns(self) -> dict[str, Any]:
        """The attributes by name, without a split that is None."""
        return {name: column for name, column in vars(self).items() if column is not None}

    def replace(self, **changes: Any) -> "Embeddings":  # noqa: ANN401 - attributes by name
        """The same with other values of some attributes."""
        return dataclasses.replace(self, **changes)

    def subset(self, rows: np.ndarray) -> "Embeddings":
        """Those of some rows, by number or (R,) bool."""
        columns = {name: column[rows] for name, column in self.columns().items() if name != "fingerprint"}
        return self.replace(**columns)

    def save(self, path: Path | str) -> None:
        """Write a file by its suffix, in one step.

        ``.npz`` and ``.parquet`` hold the attributes as columns (the fingerprint of Parquet is metadata,
        ``ogreid.fingerprint``). ``.faiss`` holds an exact inner-product index of the *normalized* embeddings, which
        answers with cosine similarities and the values of ``index``.

        Raises:
            InputError: see :func:`check_target` and, for faiss, :meth:`normalized`.
        """
        path = Path(path)
        check_target(path)
        with atomic_write(path) as file:
            _WRITERS[path.suffix](file, self)

    @classmethod
    def load(cls, path: Path | str) -> "Embeddings":
        """Read an ``.npz`` or ``.parquet`` file that :meth:`save` wrote; nothing in it is run.

        Raises:
            InputError: there is none, it is of another kind, damaged, or pyarrow is missing.
        """
        path = Path(path)
        if path.suffix not in _READERS:
            raise InputError(f"{path}: embeddings are loaded from {' or '.join(_READERS)}; give such a file")
        _check_package(path, "reading")
        if not path.exists():
            raise MissingFileError(f"{path}: no such file of embeddings")
        try:
            columns = _READERS[path.suffix](path)
            required = {field.name: columns[field.name] for field in dataclasses.fields(cls) if field.name != "split"}
            return cls(**required | {"split": columns.get("split"), "fingerprint": str(columns["fingerprint"])})
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: not embeddings that ogreid saved ({error}); delete it, or save again") from error

    @classmethod
    def cached(cls, path: Path | None, fingerprint: str, compute: Callable[[], "Embeddings"]) -> "Embeddings":
        """Those in a file, where they have this fingerprint, else computed and saved there; without a path computed."""
        if path is None:
            return compute()
        if path.is_file() and (known := cls.load(path)).fingerprint == fingerprint:
            return known
        check_target(path)
        log.info("%s: none of this network and store, computed", path)
        embeddings = compute()
        embeddings.save(path)
        return embeddings


def check_target(path: Path) -> None:
    """Before anything is computed: refuse a path of unknown suffix, missing folder or missing package."""
    if path.suffix not in _WRITERS:
        raise InputError(f"{path}: embeddings are saved as {', '.join(_WRITERS)}; end its name with one of them")
    if not path.parent.is_dir():
        raise MissingFileError(f"{path}: its folder does not exist; make it or choose another")
    _check_package(path, "writing")


def _check_package(path: Path, purpose: str) -> None:
    package = {".parquet": "pyarrow", ".faiss": "faiss"}.get(path.suffix)
    if package is not None and find_spec(package) is None:
        raise InputError(f'{path}: {purpose} it needs {package}; pip install "ogreid[export]"')


def _write_npz(file: IO[bytes], embeddings: Embeddings) -> None:
    np.savez(file, allow_pickle=False, **embeddings.columns())


def _write_parquet(file: IO[bytes], embeddings: Embeddings) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = embeddings.columns()
    metadata = {"ogreid.fingerprint": columns.pop("fingerprint")}
    flat = pyarrow.array(embeddings.embedding.reshape(-1))
    columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, embeddings.embedding.shape[1])
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), file)


def _read_parquet(path: Path) -> dict[str, Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
        columns = {name: table[name].to_numpy() for name in table.column_names}
        fingerprint = (table.schema.metadata or {})[b"ogreid.fingerprint"].decode()
        return columns | {"embedding": np.stack(columns["embedding"]), "fingerprint": fingerprint}
    except (pyarrow.ArrowException, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _write_faiss(file: IO[bytes], embeddings: Embeddings) -> None:
    import faiss

    unit = embeddings.normalized().embedding
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(unit.shape[1]))
    index.add_with_ids(unit, embeddings.index)
    file.write(faiss.serialize_index(index).data)


_WRITERS = {".npz": _write_npz, ".parquet": _write_parquet, ".faiss": _write_faiss}
_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {".npz": read_arrays, ".parquet": _read_parquet}
