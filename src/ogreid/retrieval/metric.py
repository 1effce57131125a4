"""The shell around `ranking`: collects embeddings batch by batch and process by process, then judges them once."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ogreid.errors import InputError
from ogreid.retrieval.ranking import AveragePrecision, RetrievalResult, Unanswerable, judge

__all__ = ["Collected", "RetrievalMetric"]


Side = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Embeddings (R, D), identities (R,), cameras (R,)."""


@dataclass(frozen=True)
class Collected:
    """The rows that were judged, from all processes, in index order, each once.

    Attributes:
        embedding: (R, D).
        identity: (R,) int64.
        camera: (R,) int64.
        index: (R,) int64, ascending; below the number of queries it is a query row, else a gallery row.
    """

    embedding: Tensor
    identity: Tensor
    camera: Tensor
    index: Tensor

    def sides(self, queries: int) -> tuple[Side, Side]:
        """Query and gallery on the CPU; rows whose index is below ``queries`` ask."""
        split = int((self.index < queries).sum())
        embedding, identity, camera = (c.cpu().numpy() for c in (self.embedding, self.identity, self.camera))
        query = embedding[:split], identity[:split], camera[:split]
        return query, (embedding[split:], identity[split:], camera[split:])

    def collapsed(self, within: float = 1e-3) -> bool:
        """Whether all embeddings point the same way: no two are further apart than about ``within``, as unit vectors.

        An untrained OG-Net maps people some 0.1 apart.
        """
        first = normalize(self.embedding[:1], dim=1)
        for part in torch.split(self.embedding, 4096):  # a copy of all of them would be as large as they are
            if bool(((normalize(part, dim=1) - first).norm(dim=1) > within).any()):
                return False
        return True

    def unique(self) -> "Collected":
        """The rows sorted by index, each once.

        Raises:
            InputError: two rows of one index disagree. Embeddings may differ by what reduced precision makes of another
                batch (5 % of their length), not by more; one that is not finite equals none but its own bits.
        """
        order = torch.argsort(self.index, stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = self.index[order][1:] != self.index[order][:-1]
        kept = order[first]
        again, owner = order[~first], kept[torch.cumsum(first, 0) - 1][~first]
        copies, originals = self.embedding[again], self.embedding[owner]
        close = (copies - originals).norm(dim=1) <= 0.05 * originals.norm(dim=1)
        alike = (copies.view(torch.int32) == originals.view(torch.int32)).all(dim=1)
        clash = (
            (self.identity[again] != self.identity[owner])
            | (self.camera[again] != self.camera[owner])
            | ~(close | alike)
        )
        if clash.any():
            doubled = int(self.index[again][clash][0])
            raise InputError(f"row {doubled} reached the judge twice, with different identities, cameras or embeddings")
        return Collected(self.embedding[kept], self.identity[kept], self.camera[kept], self.index[kept])


class RetrievalMetric(Metric):
    """Exact retrieval measures at any number of processes.

    Every row carries its index, so the metric can tell that each was seen: rows that a sampler repeated are dropped,
    a row that came back as someone else and rows that never came are refused. Rows are sorted by index before they are
    judged, and `judge` does not depend on blocks, so the result has the same bits for any number of processes.

    The states are flat or (R,), because a process without a single row must still join the gathering with an empty
    tensor, and cannot know the width of an embedding that it never saw. Each row brings its width along: rows of 4 and
    of 6 numbers would otherwise pass for twice as many of 5.

    Args:
        queries: number of query rows; their indices are 0 to ``queries - 1``.
        gallery: number of gallery rows; their indices follow.
        average_precision: as in `judge`.
        unanswerable: as in `judge`.
        partial: judge what is there (``limit_val_batches``); the `RetrievalResult` then says how many rows were missing.

    Attributes:
        collected: what the last ``compute`` judged, for pictures and files; None before.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    embedding: list[Tensor]
    identity: list[Tensor]
    camera: list[Tensor]
    index: list[Tensor]
    width: list[Tensor]

    def __init__(
        self,
        queries: int,
        gallery: int,
        *,
        average_precision: AveragePrecision = "trapezoid",
        unanswerable: Unanswerable = "skip",
        partial: bool = False,
    ) -> None:
        super().__init__()
        if queries < 1 or gallery < 1:
            raise InputError(f"a retrieval needs query and gallery rows: there are {queries} and {gallery}")
        self.queries, self.gallery, self.partial = queries, gallery, partial
        self.average_precision: AveragePrecision = average_precision
        self.unanswerable: Unanswerable = unanswerable
        self.collected: Collected | None = None
        for state in ("embedding", "identity", "camera", "index", "width"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self._seed_states()

    def update(
        self,
        embedding: Float[Tensor, "B D"],
        identity: Int64[Tensor, " B"],
        camera: Int64[Tensor, " B"],
        index: Int64[Tensor, " B"],
    ) -> None:
        """Take in B rows: embeddings, identities, cameras, and which rows of the set they are."""
        self.embedding.append(embedding.detach().float().flatten())
        self.identity.append(identity)
        self.camera.append(camera)
        self.index.append(index)
        self.width.append(torch.full_like(index, embedding.shape[1]))

    def compute(self) -> RetrievalResult:
        """Judge the rows of all processes.

        Raises:
            InputError: rows missing (unless ``partial``), two rows of one index that disagree, or what `judge` refuses.
        """
        rows = self._gathered()
        missing = self.queries + self.gallery - len(rows.index)
        if missing and not self.partial:
            raise InputError(
                f"{missing} of {self.queries + self.gallery} rows never reached the judge: was the set cut short "
                "(limit_val_batches)? A part can be judged with partial=True, and says so"
            )
        self.collected = rows
        split = int((rows.index < self.queries).sum())
        sides = [rows.embedding, rows.identity, rows.camera]
        query, gallery = [side[:split] for side in sides], [side[split:] for side in sides]
        if missing and not _answerable(query[1], query[2], gallery[1], gallery[2]):
            return RetrievalResult.nothing(split, missing)
        judgment = judge(*query, *gallery, average_precision=self.average_precision, unanswerable=self.unanswerable)
        return judgment._replace(missing=missing)

    def reset(self) -> None:
        """Forget every row."""
        if self._is_synced:  # compute refused the rows: torchmetrics then leaves the gathered states in place
            self.unsync()
        super().reset()
        self.collected = None
        self._seed_states()

    def _seed_states(self) -> None:
        nothing = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.embedding.append(nothing.float())
        for state in (self.identity, self.camera, self.index, self.width):
            state.append(nothing)

    def _gathered(self) -> Collected:
        flat, identity, camera, index = map(dim_zero_cat, (self.embedding, self.identity, self.camera, self.index))
        widths = sorted(set(dim_zero_cat(self.width).tolist()))
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < self.queries + self.gallery):
            raise InputError(
                f"row indices run from {int(index.min())} to {int(index.max())}, outside the set of "
                f"{self.queries} query and {self.gallery} gallery rows: does the metric belong to this set?"
            )
        if len(widths) > 1:
            told = " and ".join(map(str, widths))
            raise InputError(f"embeddings are {told} wide: widths are mixed, all rows must come from one network")
        return Collected(flat.view(len(index), sum(widths)), identity, camera, index).unique()


def _answerable(query_identity: Tensor, query_camera: Tensor, gallery_identity: Tensor, gallery_camera: Tensor) -> bool:
    """Whether any query has a match from another camera."""
    for identity, camera in zip(query_identity.tolist(), query_camera.tolist(), strict=True):
        if identity != -1 and bool(((gallery_identity == identity) & (gallery_camera != camera)).any()):
            return True
    return False
