"""What training minimizes: cross-entropy of an identity classifier, and pair losses on the embedding."""

import inspect
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError, nearest_names
from ogreid.ops.collectives import all_rows

__all__ = [
    "LOSSES",
    "CircleReid",
    "CrossEntropyReid",
    "IdentityHead",
    "ReidLoss",
    "TripletReid",
    "build_loss",
    "circle_loss",
    "triplet_loss",
]


class IdentityHead(nn.Module):
    """Dropout and one linear layer: the identities of the training set as classes.

    Shapes: embedding (B, D) -> logits (B, ``identities``).

    Args:
        width: D.
        identities: classes.
        dropout: share of the embedding that is dropped in training.
        label_smoothing: share of the target spread evenly over all identities.
    """

    def __init__(self, width: int, identities: int, *, dropout: float = 0.7, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if identities < 1:
            raise InputError(f"identity head: {identities} identities; the training split must hold at least 1")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, identities)
        self.label_smoothing = label_smoothing
        nn.init.normal_(self.classifier.weight, std=1e-6)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
        """Logits."""
        logits: Tensor = self.classifier(self.dropout(embedding))
        return logits

    def cross_entropy(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """Mean cross-entropy of the batch in float32 or better."""
        logits = self(embedding)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return functional.cross_entropy(logits, identity, label_smoothing=self.label_smoothing)


def circle_loss(
    embedding: Float[Tensor, "B D"],
    identity: Int[Tensor, " B"],
    *,
    margin: float = 0.25,
    gamma: float = 64.0,
    pairs: str = "batch",
) -> Float[Tensor, ""]:
    """Circle loss of the L2-normalized embedding; not divided by the batch.

    With ``s`` the cosine of a pair, positives weigh ``a_p = max(0, 1 + m - s)``, negatives ``a_n = max(0, s + m)``,
    both without gradient, and a set of pairs costs
    ``softplus(logsumexp(gamma a_n (s - m)) + logsumexp(-gamma a_p (s - 1 + m)))``.

    Args:
        embedding: any scale.
        identity: of each row.
        margin: m.
        gamma: scale.
        pairs: ``batch``: one set, each unordered pair of the batch once (the paper's and the released code's form);
            ``anchor``: a set for each row, then the mean over the rows that have a positive and a negative (fast-reid's
            and pytorch-metric-learning's form).

    Returns:
        A scalar; exactly 0 (with a gradient of 0) where there is no positive or no negative pair.

    Raises:
        InputError: an unknown kind of pairs.

    Source: Sun et al., Circle loss, CVPR 2020, equations 5 and 6.
    """
    if pairs not in ("batch", "anchor"):
        raise InputError(f"circle loss: pairs = {pairs!r} is unknown; batch or anchor")
    wide = embedding if embedding.dtype == torch.float64 else embedding.float()
    unit = functional.normalize(wide, dim=1)
    cosine = unit @ unit.T  # (B, B)
    same = identity.unsqueeze(0) == identity.unsqueeze(1)
    other = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    if pairs == "batch":
        other = other.triu()
    weight_positive = (1 + margin - cosine.detach()).clamp_min(0)
    weight_negative = (cosine.detach() + margin).clamp_min(0)
    positive = (-gamma * weight_positive * (cosine - 1 + margin)).masked_fill(~(same & other), -torch.inf)
    negative = (gamma * weight_negative * (cosine - margin)).masked_fill(same | ~other, -torch.inf)
    if pairs == "batch":
        positive, negative = positive.view(1, -1), negative.view(1, -1)
    return _mean_circle(positive, negative)


def _mean_circle(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over the rows that hold a finite value on both sides; rows without one cost nothing."""
    complete = positive.isfinite().any(1) & negative.isfinite().any(1)
    # A row without pairs is given a value: logsumexp of nothing but -inf has no gradient, not a gradient of 0.
    positive = positive.masked_fill(~complete.unsqueeze(1), 0.0)
    negative = negative.masked_fill(~complete.unsqueeze(1), 0.0)
    each = functional.softplus(positive.logsumexp(1) + negative.logsumexp(1))
    return (each * complete).sum() / complete.sum().clamp_min(1)


def triplet_loss(
    embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"], *, margin: float = 0.3
) -> Float[Tensor, ""]:
    """Batch-hard triplet loss: ``max(0, farthest positive - nearest negative + margin)``, mean over complete anchors.

    Euclidean distances of the embedding as it is.

    Source: Hermans et al., In defense of the triplet loss, 2017, equation 5.
    """
    wide = embedding if embedding.dtype == torch.float64 else embedding.float()
    squared = (wide.unsqueeze(0) - wide.unsqueeze(1)).square().sum(-1)
    distance = squared.clamp_min(1e-12).sqrt()  # the root of 0 has no gradient
    same = identity.unsqueeze(0) == identity.unsqueeze(1)
    other = ~torch.eye(len(wide), dtype=torch.bool, device=wide.device)
    farthest = distance.masked_fill(~(same & other), -torch.inf).amax(1)
    closest = distance.masked_fill(same, torch.inf).amin(1)
    complete = farthest.isfinite() & closest.isfinite()
    each = torch.where(complete, farthest - closest + margin, 0.0).clamp_min(0)
    return each.sum() / complete.sum().clamp_min(1)


class ReidLoss(nn.Module):
    """A loss of embeddings and identities, with the classifier that belongs to training only.

    ``forward`` gives named terms whose values sum to what is minimized.
    """

    head: IdentityHead

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> dict[str, Tensor]:
        """The terms of the loss."""
        raise NotImplementedError


class CrossEntropyReid(ReidLoss):
    """Cross-entropy of the identity classifier.

    Args:
        width: of the embedding.
        identities: classes.
        dropout: before the classifier.
        label_smoothing: of the targets.
    """

    def __init__(self, width: int, identities: int, *, dropout: float = 0.7, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.head = IdentityHead(width, identities, dropout=dropout, label_smoothing=label_smoothing)

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": self.head.cross_entropy(embedding, identity)}


class CircleReid(CrossEntropyReid):
    """Cross-entropy, and Circle loss of the embedding before dropout.

    With ``pairs="batch"`` the Circle term is divided by the batch size, as published; with ``pairs="anchor"`` it is a
    mean already.

    On several processes the gradients are averaged. For the cross-entropy that is the gradient of the mean over the
    whole batch. The Circle term sees the pairs inside each process's own batch only, so that it is *not* the term of
    the whole batch, unless ``gather``: then it is, with its gradient.

    Args:
        width: of the embedding.
        identities: classes.
        margin: of Circle loss.
        gamma: of Circle loss.
        pairs: see :func:`circle_loss`.
        gather: form the pairs over the batches of all processes.
        dropout: before the classifier.
        label_smoothing: of the classifier's targets.
    """

    def __init__(
        self,
        width: int,
        identities: int,
        *,
        margin: float = 0.25,
        gamma: float = 64.0,
        pairs: str = "batch",
        gather: bool = False,
        dropout: float = 0.7,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(width, identities, dropout=dropout, label_smoothing=label_smoothing)
        self.margin, self.gamma, self.pairs, self.gather = margin, gamma, pairs, gather

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> dict[str, Tensor]:
        """``cross_entropy`` and ``circle``."""
        paired = (all_rows(embedding.float()), all_rows(identity)) if self.gather else (embedding, identity)
        circle = circle_loss(*paired, margin=self.margin, gamma=self.gamma, pairs=self.pairs)
        share = len(paired[0]) if self.pairs == "batch" else 1
        return {**super().forward(embedding, identity), "circle": circle / share}


class TripletReid(CrossEntropyReid):
    """Cross-entropy, and batch-hard triplet loss of the embedding before dropout.

    Args:
        width: of the embedding.
        identities: classes.
        margin: of the triplet loss.
        gather: look for positives and negatives in the batches of all processes; else in each one's own.
        dropout: before the classifier.
        label_smoothing: of the classifier's targets.
    """

    def __init__(
        self,
        width: int,
        identities: int,
        *,
        margin: float = 0.3,
        gather: bool = False,
        dropout: float = 0.7,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(width, identities, dropout=dropout, label_smoothing=label_smoothing)
        self.margin, self.gather = margin, gather

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> dict[str, Tensor]:
        """``cross_entropy`` and ``triplet``."""
        compared = (all_rows(embedding.float()), all_rows(identity)) if self.gather else (embedding, identity)
        triplet = triplet_loss(*compared, margin=self.margin)
        return {**super().forward(embedding, identity), "triplet": triplet}


LOSSES: dict[str, Callable[..., ReidLoss]] = {"ce": CrossEntropyReid, "circle": CircleReid, "triplet": TripletReid}
"""Every loss that a configuration can name."""


def build_loss(name: str, width: int, identities: int, **options: object) -> ReidLoss:
    """A loss by its name.

    Args:
        name: a key of :data:`LOSSES`.
        width: of the embedding.
        identities: in training.
        **options: arguments of that loss, as plain data (see its class).

    Raises:
        InputError: an unknown name or option, with the nearest ones.
    """
    if name not in LOSSES:
        raise InputError(f"loss {name!r} is unknown; {nearest_names(name, LOSSES)}")
    known = [key for key in inspect.signature(LOSSES[name]).parameters if key not in ("width", "identities")]
    for key in options:
        if key not in known:
            raise InputError(f"loss {name}: has no option {key!r}; {nearest_names(key, known)}")
    return LOSSES[name](width, identities, **options)
