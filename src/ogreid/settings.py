"""What an experiment is: frozen dataclasses, one per group of settings.

Numbers that a published model, loss or recipe defines stay ``None`` here ("the variant's own"); YAML holds only
what differs.
"""

from dataclasses import dataclass, field, fields
from typing import Any

__all__ = [
    "Augmentation",
    "Data",
    "Experiment",
    "Loss",
    "Model",
    "Ops",
    "Optimiser",
    "Runs",
    "Trainer",
    "Validation",
    "Wandb",
]


@dataclass(frozen=True)
class Augmentation:
    """Training-time changes of a cloud, drawn on the device; the defaults are the published ones.

    Attributes:
        subset: probability of a random subset of points instead of the evenly spaced one.
        mirror: probability of x -> -x.
        scale: range of the three independent scale factors; empty for none.
        jitter: Gaussian noise in metres, clipped at the same value.
        rotation: largest turn about the vertical axis, degrees.
        erase: probability of greying the colours of one run of consecutive points.
        light: strength of a random gain (per channel) and gamma of the colours; 0 = off (the paper's).
    """

    subset: float = 0.5
    mirror: float = 0.5
    scale: list[float] = field(default_factory=lambda: [0.75, 1.33])
    jitter: float = 0.01
    rotation: float = 0.0
    erase: float = 0.0
    light: float = 0.0


@dataclass(frozen=True)
class Data:
    """Which packed stores train and judge, and how a batch is drawn.

    Attributes:
        root: folder of the packed stores (``OGREID_DATA`` where it is not given).
        train: stores whose training identities are learnt; identities of different stores stay apart.
        retrieval: stores judged at validation; the first one decides which checkpoint is the best.
        transfer: stores judged without having been trained on, every ``validation.transfer_every`` validations.
        points: points per cloud that the network sees.
        density: the same as a fraction of the stored points; wins over ``points``.
        batch: clouds per training step and process.
        evaluation_batch: clouds per validation step and process.
        sampling: ``shuffle``, ``balanced``, ``per_class`` or ``identity`` (identities x ``per_identity``).
        per_identity: clouds per identity for ``per_class`` and ``identity``.
        inputs: ``scene`` (the cloud), ``image`` (the cloud with z = 0: a picture in space, Table I) or ``crop`` (all
            pixels row by row, for networks that read pictures). The paper's "visible part only" is a store packed
            with ``--no-background``.
        workers: loader processes.
        resident: hold whole stores in the device's memory (9 bytes a point) instead of reading every batch; no workers.
        augmentation: see :class:`Augmentation`.
    """

    root: str = "${oc.env:OGREID_DATA,data}"
    train: list[str] = field(default_factory=lambda: ["market"])
    retrieval: list[str] = field(default_factory=lambda: ["market"])
    transfer: list[str] = field(default_factory=list)
    points: int = 4096
    density: float | None = None
    batch: int = 36
    evaluation_batch: int = 64
    sampling: str = "shuffle"
    per_identity: int = 4
    inputs: str = "scene"
    workers: int = 2
    resident: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Model:
    """A network of ``ogreid.models.MODELS``; ``None`` leaves the variant's own value.

    Attributes:
        name: for example ``ognet``, ``ognet_small``, ``ognet_deep``, ``dgcnn``, ``resnet50``.
        k: neighbours in a graph, the point itself included; 1 means no graph.
        widths: channels of each module.
        kept: points kept by each down-sampling.
        radii: metres, of the three ball queries.
        samples: points per ball, of the three ball queries.
        embedding: width of the embedding.
        last_graph: ``appearance`` (position and feature) or ``position``.
        gate: the point-wise gate of the set abstraction.
        short_cut: learned short-cuts: ``none``, or taken ``before`` or ``after`` the down-sampling.
        blend: ``learned``, ``max`` or ``mean`` over neighbours.
        convolution: ``edge``, ``sage``, ``gat`` or ``sum``.
        convolutions: graph convolutions in each module.
        grouping: ``ball`` (released code) or ``nearest`` (the paper's text).
        narrow: PointNet++ only: divides its widths and the members of its groups.
        size: 2D networks only: rows and columns to which a crop is scaled.
    """

    name: str = "ognet"
    k: int | None = None
    widths: list[int] | None = None
    kept: list[int] | None = None
    radii: list[float] | None = None
    samples: list[int] | None = None
    embedding: int | None = None
    last_graph: str | None = None
    gate: bool | None = None
    short_cut: str | None = None
    blend: str | None = None
    convolution: str | None = None
    convolutions: int | None = None
    grouping: str | None = None
    narrow: int | None = None
    size: list[int] | None = None

    def overrides(self) -> dict[str, Any]:
        """What differs from the variant's own values, as arguments of ``build_model``."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        return {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True)
class Loss:
    """A loss of ``ogreid.losses.LOSSES``.

    Attributes:
        name: ``ce``, ``circle`` (cross-entropy + Circle) or ``triplet`` (cross-entropy + triplet).
        dropout: before the classifier.
        label_smoothing: of the cross-entropy.
        margin: of Circle loss (0.25) or triplet loss (0.3).
        gamma: scale of Circle loss.
        pairs: ``batch`` (as released) or ``anchor`` (as in fast-reid).
        gather: form the pairs over all processes, with gradients.
    """

    name: str = "circle"
    dropout: float = 0.7
    label_smoothing: float = 0.0
    margin: float | None = None
    gamma: float | None = None
    pairs: str | None = None
    gather: bool = False

    def options(self) -> dict[str, Any]:
        """What was set, as arguments of ``build_loss``."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        return {key: value for key, value in named.items() if value is not None and value is not False}


@dataclass(frozen=True)
class Optimiser:
    """Adam as published: amsgrad, cosine per epoch, a ramp on the loss.

    Attributes:
        lr: initial learning rate.
        weight_decay: L2 term.
        amsgrad: keep the largest second moment.
        final: last learning rate of the cosine, as a fraction of ``lr``.
        loss_warmup: epochs over which the *loss* is multiplied by a ramp from 0.1 to 1.
        average: fraction of the epochs, at the end, whose weights are averaged; 0 = none.
    """

    lr: float = 1e-3
    weight_decay: float = 5e-4
    amsgrad: bool = True
    final: float = 0.01
    loss_warmup: int = 10
    average: float = 0.0


@dataclass(frozen=True)
class Validation:
    """How a network is judged while it trains.

    Attributes:
        every: epochs between two validations.
        transfer_every: validations between two looks at the transfer sets; the last one always looks.
        views: scales at which a cloud is embedded; the embeddings are summed and normalised.
        baselines: judged once before training: ``untrained``, ``histogram``.
        average_precision: definition of the headline mAP, ``trapezoid`` (paper) or ``step``.
        embeddings: keep ``embeddings.npz`` of the last validation.
    """

    every: int = 10
    transfer_every: int = 1
    views: list[float] = field(default_factory=lambda: [1.0, 1.1])
    baselines: list[str] = field(default_factory=list)
    average_precision: str = "trapezoid"
    embeddings: bool = False


@dataclass(frozen=True)
class Trainer:
    """What reaches Lightning's Trainer under the same name, and what is ours.

    Attributes:
        compile: compile the network with torch.
        save_every_n_steps: steps between two checkpoints inside an epoch, beside the one at its end; 0 for none.
        skip_bad_steps: steps with a loss or a gradient that is not finite that are left out, with a warning, before
            training stops.
    """

    max_epochs: int = 1000
    max_steps: int = -1
    max_time: str | None = None
    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "auto"
    num_nodes: int = 1
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    accumulate_grad_batches: int = 1
    sync_batchnorm: bool = False
    deterministic: bool = False
    fast_dev_run: bool = False
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    num_sanity_val_steps: int = 0
    log_every_n_steps: int = 10
    enable_progress_bar: bool = True
    compile: bool = False
    save_every_n_steps: int = 200
    skip_bad_steps: int = 0


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases. ``auto`` is online where a key is known, else offline; it never asks."""

    mode: str = "auto"
    project: str = "ogreid"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ops:
    """Which implementation of the point operations runs: ``auto``, ``fused``, ``cluster`` or ``plain``."""

    backend: str = "auto"


@dataclass(frozen=True)
class Runs:
    """Where runs are kept, and whether they may show people.

    With ``pictures`` false no picture of a person and no coloured cloud goes into the run folder, its report or W&B:
    the right choice for real benchmarks on shared servers. Numbers, curves and the map of embeddings stay.
    """

    root: str = "runs"
    pictures: bool = True


@dataclass(frozen=True)
class Experiment:
    """One experiment, resolved."""

    name: str = "experiment"
    description: str = ""
    seed: int = 0
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    validation: Validation = field(default_factory=Validation)
    trainer: Trainer = field(default_factory=Trainer)
    ops: Ops = field(default_factory=Ops)
    wandb: Wandb = field(default_factory=Wandb)
    runs: Runs = field(default_factory=Runs)
