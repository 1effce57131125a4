"""Finding the sightings of a person: every row of a store embedded once and kept, pictures asked against them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from ogreid import embeddings
from ogreid.batch import CloudBatch
from ogreid.config import Data
from ogreid.data import Store
from ogreid.data.sources import CropClouds, read_crop
from ogreid.data.transforms import to_network
from ogreid.embeddings import Embedded
from ogreid.errors import UserError
from ogreid.lifting import Mode
from ogreid.module import ReidModule
from ogreid.retrieval.directions import directions

__all__ = ["Finding", "embed_store", "find"]

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """What one picture found.

    Attributes:
        picture: (H, W, 3) uint8, as it was asked.
        name: of the picture's file.
        rows: (T,) numbers in the store, most similar first.
        scores: (T,) cosine similarities.
    """

    picture: np.ndarray
    name: str
    rows: np.ndarray
    scores: np.ndarray


def embed_store(
    module: ReidModule, data: Data, store: Store, kept: Path | None = None, progress: Progress | None = None
) -> Embedded:
    """Embed every sighting of a store: the crops that are not for training, or all where there are no others.

    Args:
        module: the network.
        data: how its clouds are prepared.
        store: whose rows.
        kept: an ``.npz`` file. Embeddings in it are used if they are of this network and store; else it is written.
        progress: told (done, total).
    """
    rows = _sightings(store)
    made_of = _fingerprint(module, data, store)
    if kept is not None and (found := _kept(kept, made_of)) is not None:
        return Embedded(rows, found, made_of)
    parts = []
    for first in range(0, len(rows), data.evaluation_batch):
        part = rows[first : first + data.evaluation_batch]
        parts.append(_embed(module, data, *store.raw(part)))
        if progress is not None:
            progress(first + len(part), len(rows))
    embedded = Embedded(rows, np.concatenate(parts), made_of)
    if kept is not None:
        embeddings.write(kept, store, embedded)
    return embedded


def find(
    module: ReidModule, data: Data, store: Store, embedded: Embedded, pictures: Sequence[Path], top: int = 10
) -> list[Finding]:
    """The ``top`` most similar sightings of each picture, which is lifted with the upright body.

    Raises:
        UserError: a picture that cannot be read; a store of published clouds, whose lifting a picture cannot follow.
    """
    manifest = store.manifest
    if manifest.mode not in get_args(Mode):
        raise UserError(
            f"{store.path}: holds published clouds; pack its crops (--root DIR) to ask pictures against them"
        )
    known = directions(embedded.embedding, "gallery row")
    findings = []
    for path in pictures:
        crops = CropClouds(path.parent, mode=cast(Mode, manifest.mode), background=manifest.background)
        lifted = crops.arrays([path.name])
        asked = directions(_embed(module, data, lifted["xyz"], lifted["rgb"]), "query")
        scores = (known.astype(np.float64) @ asked[0].astype(np.float64)).ravel()
        order = np.argsort(-scores, kind="stable")[:top]
        findings.append(Finding(read_crop(path), path.name, embedded.rows[order], scores[order]))
    return findings


def _sightings(store: Store) -> np.ndarray:
    """Each crop once: a folder without splits has its query crops in the gallery too."""
    rows = np.flatnonzero(~np.isin(store.rows["split"], ("train", "val")))
    rows = rows if len(rows) else np.arange(len(store))
    _, first = np.unique(store.rows["source"][rows], return_index=True)
    return np.asarray(rows[np.sort(first)])


@torch.inference_mode()
def _embed(module: ReidModule, data: Data, xyz: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    none = torch.zeros(len(xyz), dtype=torch.int64)
    batch = CloudBatch(torch.from_numpy(xyz), torch.from_numpy(rgb), none, none, none)
    batch = CloudBatch(*(column.to(module.device) for column in batch))
    points = data.points if data.density is None else round(data.density * xyz.shape[1])
    return np.asarray(module.eval().validation_step(to_network(batch, points), 0).float().cpu().numpy())


def _fingerprint(module: ReidModule, data: Data, store: Store) -> str:
    """Of everything that an embedding depends on."""
    read = hashlib.sha256(store.manifest.rows_sha256.encode())
    for one in store.manifest.fields.values():
        read.update("".join(one.checksums).encode())
    read.update(repr((module.views, data.points, data.density)).encode())
    for name, weights in module.network.state_dict().items():
        read.update(name.encode() + weights.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return read.hexdigest()


def _kept(path: Path, made_of: str) -> np.ndarray | None:
    if not path.is_file():
        return None
    embedding, of = embeddings.read_kept(path)
    if of == made_of:
        return embedding
    log.info("%s: of another network or store, made again", path)
    return None
