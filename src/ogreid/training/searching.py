"""Finding the sightings of a person: every row of a store embedded once and kept, pictures asked against them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from ogreid.retrieval import embeddings
from ogreid.data.batch import CloudBatch
from ogreid.config import Data
from ogreid.data import Store
from ogreid.data.datasets.bodies import estimates_in
from ogreid.data.store.manifest import Manifest
from ogreid.data.datasets.sources import CropClouds, MeshSource, read_crop, upright
from ogreid.data.datasets.synthetic_stores import EstimatedBodies
from ogreid.data.transforms import to_network
from ogreid.retrieval.embeddings import Embedded
from ogreid.errors import InputError
from ogreid.lifting import Mode
from ogreid.training.module import ReIDModule
from ogreid.synthetic import estimates
from ogreid.retrieval.directions import directions

__all__ = ["Finding", "embed_store", "find", "lifted_alike"]

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
    module: ReIDModule, data: Data, store: Store, kept: Path | None = None, progress: Progress | None = None
) -> Embedded:
    """Embed every sighting of a store: the crops that are not for training, or all where there are no others.

    Args:
        module: the network.
        data: how its clouds are prepared.
        store: whose rows.
        kept: an ``.npz`` file. Embeddings in it are used if they are of this network and store; else it is written.
        progress: told (done, total).

    Raises:
        InputError: the network takes more points than a cloud of the store has.
    """
    rows = _sightings(store)
    made_of = _fingerprint(module, data, store)
    if kept is not None and (found := _kept(kept, made_of)) is not None:
        return Embedded(rows, found, made_of)
    if data.density is None and data.num_points > store.manifest.points:
        raise InputError(
            f"{store.name}: {data.num_points} points asked, each cloud has {store.manifest.points}; take a network trained "
            "on as few, or pack the store with more points"
        )
    parts = []
    for first in range(0, len(rows), data.eval_batch_size):
        part = rows[first : first + data.eval_batch_size]
        parts.append(_embed(module, data, *store.raw(part)))
        if progress is not None:
            progress(first + len(part), len(rows))
    embedded = Embedded(rows, np.concatenate(parts), made_of)
    if kept is not None:
        embeddings.write(kept, store, embedded)
    return embedded


def find(
    module: ReIDModule,
    data: Data,
    store: Store,
    embedded: Embedded,
    pictures: Sequence[Path],
    top: int = 10,
    *,
    meshes: Path | None = None,
    faces: Path | None = None,
) -> list[Finding]:
    """The ``top`` most similar sightings of each picture.

    Args:
        module: the network.
        data: how its clouds are prepared.
        store: whose sightings.
        embedded: the sightings.
        pictures: crops of a person.
        top: sightings for each picture.
        meshes: the bodies of the pictures, as for ``ogreid.pack``, or a synthetic domain's folder that holds the
            pictures; without it they are lifted with the upright body.
        faces: the body model's, where the bodies come without.

    Raises:
        InputError: a picture or a body that cannot be read; a store of published clouds, whose lifting a picture cannot
            follow.
    """
    manifest = store.manifest
    if manifest.mode not in get_args(Mode):
        raise InputError(
            f"{store.path}: holds published clouds; pack its crops (--root DIR) to ask pictures against them"
        )
    known = directions(embedded.embedding, "gallery row")
    findings = []
    for path in pictures:
        crops, source = _lifting(path, manifest, meshes, faces)
        lifted = crops.arrays([source])
        asked = directions(_embed(module, data, lifted["xyz"], lifted["rgb"]), "query")
        scores = (known.astype(np.float64) @ asked[0].astype(np.float64)).ravel()
        order = np.argsort(-scores, kind="stable")[:top]
        findings.append(Finding(read_crop(path), path.name, embedded.rows[order], scores[order]))
    return findings


def lifted_alike(store: Store, meshes: Path | None) -> bool:
    """Whether pictures are lifted as the sightings were; clouds of estimated and of upright bodies are less alike."""
    return meshes is not None or not store.manifest.creation


def _lifting(picture: Path, manifest: Manifest, meshes: Path | None, faces: Path | None) -> tuple[CropClouds, str]:
    """What makes the cloud of a picture, and the picture's name there."""
    root, source, bodies = picture.parent, picture.name, cast(MeshSource, upright)
    if meshes is not None and (meshes / estimates.FILE).is_file():
        if not picture.resolve().is_relative_to(meshes.resolve()):
            raise InputError(f"{picture}: not in {meshes}, whose bodies are of its own crops; give another --meshes")
        root, source = meshes, picture.resolve().relative_to(meshes.resolve()).as_posix()
        bodies = EstimatedBodies(meshes)
    elif meshes is not None:
        bodies = estimates_in(meshes, root, faces)
    return CropClouds(root, bodies, cast(Mode, manifest.mode), manifest.background), source


def _sightings(store: Store) -> np.ndarray:
    """Each crop once: a folder without splits has its query crops in the gallery too."""
    rows = np.flatnonzero(~np.isin(store.rows["split"], ("train", "val")))
    rows = rows if len(rows) else np.arange(len(store))
    _, first = np.unique(store.rows["source"][rows], return_index=True)
    return np.asarray(rows[np.sort(first)])


@torch.inference_mode()
def _embed(module: ReIDModule, data: Data, xyz: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    none = torch.zeros(len(xyz), dtype=torch.int64)
    batch = CloudBatch(torch.from_numpy(xyz), torch.from_numpy(rgb), none, none, none)
    batch = CloudBatch(*(column.to(module.device) for column in batch))
    points = data.num_points if data.density is None else round(data.density * xyz.shape[1])
    return np.asarray(module.eval().validation_step(to_network(batch, points), 0).float().cpu().numpy())


def _fingerprint(module: ReIDModule, data: Data, store: Store) -> str:
    """Of everything that an embedding depends on."""
    read = hashlib.sha256(store.manifest.rows_sha256.encode())
    for one in store.manifest.fields.values():
        read.update("".join(one.checksums).encode())
    read.update(repr((module.views, data.num_points, data.density)).encode())
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
