"""What training minimizes: cross-entropy of an identity classifier, and pair losses on the embedding."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.ops.collectives import all_gather
from ogreid.registry import LOSSES, build


def build_loss(name: str, **options: object) -> nn.Module:
    """A pair loss by its name.

    Args:
        name: a key of :data:`ogreid.registry.LOSSES`.
        **options: arguments of that loss.

    Returns:
        A module ``(embedding, identity) -> scalar``.

    Raises:
        InputError: an unknown name or option, with the nearest ones.
    """
    built: nn.Module = build("loss", LOSSES, name, options)
    return built


class IdentityHead(nn.Module):
    """Dropout and one linear layer: the identities of the training set as classes.

    Shapes: embedding (B, D) -> logits (B, I).

    Args:
        width: D.
        num_identities: I, classes.
        dropout: share of the embedding that is dropped in training.
        label_smoothing: share of the target spread evenly over all identities.
    """

    def __init__(self, width: int, num_identities: int, *, dropout: float = 0.7, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if num_identities < 1:
            raise InputError(f"identity head: expected at least 1 training identity, got {num_identities}")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_identities)
        self.label_smoothing = label_smoothing
        nn.init.normal_(self.classifier.weight, std=1e-6)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
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
        raise InputError(f"circle loss: expected pairs = 'batch' or 'anchor', got {pairs!r}")
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
    embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"], *, margin: float = 0.3, normalize: bool = False
) -> Float[Tensor, ""]:
    """Batch-hard triplet loss: ``max(0, farthest positive - nearest negative + margin)``, mean over complete anchors.

    Euclidean distances of the embedding as it is, or ``normalize``d to length 1.

    Source: Hermans et al., In defense of the triplet loss, 2017, equation 5.
    """
    wide = embedding if embedding.dtype == torch.float64 else embedding.float()
    wide = functional.normalize(wide, dim=1) if normalize else wide
    squared = (wide.unsqueeze(0) - wide.unsqueeze(1)).square().sum(-1)
    distance = squared.clamp_min(1e-12).sqrt()  # the root of 0 has no gradient
    same = identity.unsqueeze(0) == identity.unsqueeze(1)
    other = ~torch.eye(len(wide), dtype=torch.bool, device=wide.device)
    farthest = distance.masked_fill(~(same & other), -torch.inf).amax(1)
    closest = distance.masked_fill(same, torch.inf).amin(1)
    complete = farthest.isfinite() & closest.isfinite()
    each = torch.where(complete, farthest - closest + margin, 0.0).clamp_min(0)
    return each.sum() / complete.sum().clamp_min(1)


class CircleLoss(nn.Module):
    """Circle loss of the pairs of a batch.

    With ``pairs="batch"`` it is divided by the batch size, as published; with ``pairs="anchor"`` it is a mean already.

    On several processes the gradients are averaged, and each process sees the pairs inside its own batch only: that is
    *not* the loss of the whole batch, unless ``gather``; then it is, with its gradient.

    Shapes: embedding (B, D), identity (B,) -> scalar.

    Args:
        margin: see :func:`circle_loss`.
        gamma: see :func:`circle_loss`.
        pairs: see :func:`circle_loss`.
        gather: form the pairs over the batches of all processes.
    """

    def __init__(
        self, margin: float = 0.25, gamma: float = 64.0, pairs: str = "batch", *, gather: bool = False
    ) -> None:
        super().__init__()
        self.margin, self.gamma, self.pairs, self.gather = margin, gamma, pairs, gather

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        if self.gather:
            embedding, identity = all_gather(embedding.float()), all_gather(identity)
        loss = circle_loss(embedding, identity, margin=self.margin, gamma=self.gamma, pairs=self.pairs)
        return loss / (len(embedding) if self.pairs == "batch" else 1)


class TripletLoss(nn.Module):
    """Batch-hard triplet loss.

    Shapes: embedding (B, D), identity (B,) -> scalar.

    Args:
        margin: see :func:`triplet_loss`.
        normalize: see :func:`triplet_loss`.
        gather: look for positives and negatives in the batches of all processes; else in each one's own.
    """

    def __init__(self, margin: float = 0.3, *, normalize: bool = False, gather: bool = False) -> None:
        super().__init__()
        self.margin, self.normalize, self.gather = margin, normalize, gather

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        if self.gather:
            embedding, identity = all_gather(embedding.float()), all_gather(identity)
        return triplet_loss(embedding, identity, margin=self.margin, normalize=self.normalize)


def last_norm(network: nn.Module) -> nn.BatchNorm1d:
    """The last ``BatchNorm1d`` of a network: the neck between pair loss and classifier.

    Raises:
        InputError: it has none.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d)]
    if not norms:
        raise InputError(f"loss.neck: {type(network).__name__} has no BatchNorm1d; give it one, or set loss.neck=false")
    return norms[-1]


class NoPairLoss(nn.Module):
    """Zero: cross-entropy alone."""

    def forward(self, embedding: Float[Tensor, "B D"], identity: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        return embedding.new_zeros(())
