"""The stateful shell around `protocol`: collects embeddings by batch and by process, then evaluates them once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ogreid.errors import InputError
from ogreid.retrieval.measures import RECALL_LEVELS, AveragePrecision, RetrievalResult, Unanswerable, aggregate
from ogreid.retrieval.pooling import pool
from ogreid.retrieval.protocol import Side, evaluate_retrieval, integers


@dataclass(frozen=True)
class Samples:
    """The R samples that were evaluated, from all processes, in index order, each once; or the tracklets of these."""

    embedding: Tensor  # (R, D)
    identity: Tensor  # (R,) int64, as the others
    camera: Tensor
    index: Tensor  # ascending, of a tracklet's first sample; below the number of queries it is a query, else gallery

    def sides(self, num_queries: int) -> tuple[Side, Side]:
        """Query and gallery on the CPU; samples whose index is below ``num_queries`` are queries."""
        split = int((self.index < num_queries).sum())
        embedding, identity, camera = (c.cpu().numpy() for c in (self.embedding, self.identity, self.camera))
        query = embedding[:split], identity[:split], camera[:split]
        return query, (embedding[split:], identity[split:], camera[split:])

    def pooled(self, tracklet: Int64[np.ndarray, " S"], num_queries: int) -> "Samples":
        """Tracklets instead of samples: the mean of the unit embeddings, normalized again.

        Args:
            tracklet: of each sample of the set, by index; the samples of one side, identity, camera and tracklet are
                pooled.
            num_queries: as for :meth:`sides`.

        Raises:
            InputError: an embedding, or the mean of a tracklet, that is zero or not finite.
        """
        embedding, identity, camera, index = (c.cpu().numpy() for c in vars(self).values())
        keys = np.stack([index >= num_queries, identity, camera, tracklet[index]], axis=1)
        rows, first = pool(embedding, keys, "embedding (queries first)")
        order = np.argsort(first)
        chosen = torch.from_numpy(first[order]).to(self.index.device)
        columns = (column[chosen] for column in (self.identity, self.camera, self.index))
        return Samples(torch.from_numpy(rows[order]).to(self.embedding.device), *columns)

    def collapsed(self) -> bool:
        """Whether all embeddings point the same way: unit vectors within 1e-3; those of an untrained OG-Net are 0.1."""
        first = normalize(self.embedding[:1], dim=1)
        parts = torch.split(self.embedding, 4096)  # a copy of all of them would be as large as they are
        return all(bool(((normalize(part, dim=1) - first).norm(dim=1) <= 1e-3).all()) for part in parts)


class RetrievalMetric(Metric):
    """Exact retrieval measures at any number of processes.

    Every sample carries its index: those that a sampler repeated are dropped; two of one index that disagree, and
    samples that never came, are refused. Samples are sorted by index before they are evaluated, and
    `evaluate_retrieval` does not depend on blocks, so the result has the same bits for any number of processes.

    Args:
        num_queries: Q; the indices of the queries are 0 to Q - 1.
        num_gallery: G; the indices of the gallery follow, Q to Q + G - 1.
        average_precision: as in `evaluate_retrieval`.
        unanswerable: as in `evaluate_retrieval`.
        partial: evaluate what is there (``limit_val_batches``); the numbers then say how many samples are ``missing``.
        tracklet: (Q + G,) integers, the tracklet of each sample by index; tracklets are then evaluated instead of
            samples, see :meth:`Samples.pooled`.

    Attributes:
        result: of the last ``compute``; None before.
        samples: what the last ``compute`` evaluated, for pictures and files; None before.
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
        num_queries: int,
        num_gallery: int,
        *,
        average_precision: AveragePrecision = "trapezoid",
        unanswerable: Unanswerable = "skip",
        partial: bool = False,
        tracklet: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        if num_queries < 1 or num_gallery < 1:
            raise InputError(f"expected at least one query and one gallery sample, got {num_queries} and {num_gallery}")
        self.num_queries, self.num_gallery, self.partial = num_queries, num_gallery, partial
        self.tracklet = None if tracklet is None else integers("tracklets", tracklet, num_queries + num_gallery)
        self.average_precision: AveragePrecision = average_precision
        self.unanswerable: Unanswerable = unanswerable
        self.result: RetrievalResult | None = None
        self.samples: Samples | None = None
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
        """Take in B samples: embeddings, identities, cameras, and their indices in the set."""
        self.embedding.append(embedding.detach().float().flatten())
        self.identity.append(identity)
        self.camera.append(camera)
        self.index.append(index)
        self.width.append(torch.full_like(index, embedding.shape[1]))

    def compute(self) -> dict[str, float]:
        """Evaluate the samples of all processes.

        Returns:
            What ``log_dict`` takes: ``rank1 rank5 rank10 mAP mAP_step mINP`` in percent, ``unanswerable`` (the number
            of invalid queries) and, where samples are missing, ``missing``. `result` and `samples` hold the rest.

        Raises:
            InputError: samples missing (unless ``partial``), two of one index that disagree, or what
                `evaluate_retrieval` refuses.
        """
        samples = self._gathered()
        total = self.num_queries + self.num_gallery
        missing = total - len(samples.index)
        if missing and not self.partial:
            advice = "was the set cut short (limit_val_batches)? partial=True evaluates a part, and says so"
            problem = f"{missing} samples were never evaluated: expected {total}, got {total - missing}"
            raise InputError(f"{problem}; {advice}")
        if self.tracklet is not None:
            samples = samples.pooled(self.tracklet, self.num_queries)
        self.samples, self.result = samples, self._evaluate(samples, missing)
        return {name: number for name, number in self.result.summary().items() if name != "queries"}

    def _evaluate(self, samples: Samples, missing: int) -> RetrievalResult:
        split = int((samples.index < self.num_queries).sum())
        columns = samples.embedding, samples.identity, samples.camera
        query, gallery = zip(*(column.tensor_split([split]) for column in columns), strict=True)
        if missing and not _any_match(*query[1:], *gallery[1:]):
            nothing = np.full((split, 4), np.nan), np.zeros(RECALL_LEVELS)
            return aggregate(*nothing, 0, self.average_precision, self.unanswerable, missing)
        conventions: dict[str, Any] = {"average_precision": self.average_precision, "unanswerable": self.unanswerable}
        return evaluate_retrieval(*query, *gallery, **conventions)._replace(missing=missing)

    def reset(self) -> None:
        if self._is_synced:  # compute refused the samples: torchmetrics then leaves the gathered states in place
            self.unsync()
        super().reset()
        self.result = self.samples = None
        self._seed_states()

    # The states are flat or (R,): a process without a sample must still join the gathering with an empty tensor, and
    # cannot know the width of an embedding that it never saw. So each sample brings its width along: three of 4 and
    # three of 6 numbers would otherwise pass for six of 5.
    def _seed_states(self) -> None:
        nothing = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.embedding.append(nothing.float())
        for state in (self.identity, self.camera, self.index, self.width):
            state.append(nothing)

    def _gathered(self) -> Samples:
        """The samples of all processes, sorted by index, each once."""
        flat, identity, camera, index = map(dim_zero_cat, (self.embedding, self.identity, self.camera, self.index))
        widths = sorted(set(dim_zero_cat(self.width).tolist()))
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < self.num_queries + self.num_gallery):
            expected = f"the set of {self.num_queries} queries and {self.num_gallery} gallery samples"
            raise InputError(f"sample indices run from {int(index.min())} to {int(index.max())}, outside {expected}")
        if len(widths) > 1:
            numbers = " and ".join(map(str, widths))
            raise InputError(f"embeddings are {numbers} wide: widths are mixed, all samples must come from one network")
        embedding = flat.view(len(index), sum(widths))
        order = torch.argsort(index, stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = index[order][1:] != index[order][:-1]
        unique = order[first]
        again, original = order[~first], unique[torch.cumsum(first, 0) - 1][~first]
        copies, originals = embedding[again], embedding[original]
        # Reduced precision makes of another batch up to 5 % of the length; what is not finite equals but its own bits.
        close = (copies - originals).norm(dim=1) <= 0.05 * originals.norm(dim=1)
        equal = (copies.view(torch.int32) == originals.view(torch.int32)).all(dim=1)
        other = (identity[again] != identity[original]) | (camera[again] != camera[original]) | ~(close | equal)
        if other.any():
            problem = "was evaluated twice, with different identities, cameras or embeddings"
            raise InputError(f"sample {int(index[again][other][0])} {problem}: expected equal copies")
        return Samples(embedding[unique], identity[unique], camera[unique], index[unique])


def _any_match(query_identity: Tensor, query_camera: Tensor, gallery_identity: Tensor, gallery_camera: Tensor) -> bool:
    return any(
        identity != -1 and bool(((gallery_identity == identity) & (gallery_camera != camera)).any())
        for identity, camera in zip(query_identity.tolist(), query_camera.tolist(), strict=True)
    )
