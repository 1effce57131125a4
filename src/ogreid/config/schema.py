"""What an experiment is: frozen dataclasses, one per group of settings.

``data`` are the arguments of :class:`ogreid.ReIDDataModule`, ``model``, ``loss`` and ``optimizer`` those of
:class:`ogreid.ReIDModule`, ``trainer`` those of Lightning's ``Trainer``. A field says in its metadata which values it
takes and what it may do when a run is resumed. Numbers that a published model or loss defines stay ``None`` here ("the
variant's own"); YAML holds only what differs.
"""

from dataclasses import dataclass, field
from typing import Any

from ogreid.config.constraints import setting
from ogreid.registry import BACKENDS, LOGGERS, LOSSES, MODELS, OPTIMIZERS, SAMPLERS

MAX_WIDTH = 16_384  # a product of two such widths is a gigabyte


@dataclass(frozen=True)
class Augmentation:
    """Training-time changes of a cloud, drawn on the device; the defaults are the published ones.

    Attributes:
        subset: probability of a random subset of points instead of the evenly spaced one.
        mirror: probability of x -> -x.
        scale: range of the three independent scale factors; empty for none.
        jitter: Gaussian noise in meters, clipped at the same value.
        rotation: largest rotation about the vertical axis, degrees.
        color_drop: probability of graying the colors of one run of consecutive points. Stored points are scattered, so
            this drops color all over the cloud, not in one region.
        color_jitter: strength of a random gain (per channel) and gamma of the colors; 0 = off (the paper's).
        desaturation: largest share of a cloud's saturation that is taken away, drawn for each.
        crop: largest shift of the crop's window, as a share of its height and width; what leaves it is grayed, or not
            selected.
        erase: probability of graying one region: a rectangle of the crop, or a ball in a published cloud.
    """

    subset: float = setting(0.5, low=0, high=1)
    mirror: float = setting(0.5, low=0, high=1)
    scale: list[float] = setting([0.75, 1.33], low=0, exclusive=True, interval=True)
    jitter: float = setting(0.01, low=0)
    rotation: float = setting(0.0, low=0, high=180)
    color_drop: float = setting(0.0, low=0, high=1)
    color_jitter: float = setting(0.0, low=0, high=1)
    desaturation: float = setting(0.0, low=0, high=1)
    crop: float = setting(0.0, low=0, high=0.5)
    erase: float = setting(0.0, low=0, high=1)


@dataclass(frozen=True)
class Data:
    """Which stores train and evaluate, and how a batch is drawn: the arguments of ``ReIDDataModule``, see there."""

    root: str | None = setting(None, resume="free")
    train: list[str] = setting(["market"], resume="fixed")
    test: list[str] = setting(["market"])
    val: str = setting("test", choices=("test", "holdout"), resume="fixed")
    holdout: float = setting(0.1, low=0, high=0.9, exclusive=True, resume="fixed")
    transfer: list[str] = setting([])
    transfer_every: int = setting(1, low=1)
    num_points: int = setting(4096, low=1)
    density: float | None = setting(None, low=0, high=1, exclusive=True)
    batch_size: int = setting(36, low=2)
    eval_batch_size: int = setting(64, low=1)
    sampler: str = setting("random", choices=SAMPLERS)
    num_instances: int = setting(4, low=1)
    inputs: str = setting("scene", choices=("scene", "image", "crop"), resume="fixed")
    num_workers: int = setting(2, low=0, resume="free")
    resident: bool = setting(False, resume="free")
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Model:
    """A network of ``ogreid.registry.MODELS``; ``None`` leaves the variant's own value.

    Attributes:
        name: for example ``ognet``, ``ognet_small``, ``ognet_deep``, ``dgcnn``, ``resnet50``.
        k: neighbors in a graph, the point itself included; 1 means no graph.
        channels: of each module.
        num_kept: points kept by each down-sampling.
        radii: meters, of the three ball queries.
        num_samples: points per ball, of the three ball queries.
        embedding: width of the embedding.
        last_graph: ``appearance`` (position and feature) or ``position``.
        gate: the point-wise gate of the set abstraction.
        residual: learned residual connections: ``none``, or taken ``before`` or ``after`` the down-sampling.
        blend: ``learned``, ``max`` or ``mean`` over neighbors.
        convolution: ``edge``, ``sage``, ``gat`` or ``sum``.
        convolutions: graph convolutions in each module.
        grouping: ``ball`` (released code) or ``nearest`` (the paper's text).
        width_mult: PointNet++ only: multiplies its channels and the members of its groups.
        size: networks on crops only: rows and columns to which a crop is scaled.
        blocks: LiftedResNet only: residual blocks of each stage.
        pixels: LiftedResNet only: ``depth``, ``foreground`` and ``normal`` beside the colors.
        parts: LiftedResNet only: horizontal bands that are pooled by themselves.
        options: further arguments, for networks of your own.
        weights: a run, checkpoint, ``state_dict`` or released folder that the network starts from.
        freeze: parts of the network that keep their weights, for example ``stages.0``.
    """

    name: str = setting("ognet", choices=MODELS, resume="fixed")
    k: int | None = setting(low=1, resume="fixed")
    channels: list[int] | None = setting(low=1, high=MAX_WIDTH, nonempty=True, resume="fixed")
    num_kept: list[int] | None = setting(low=1, nonempty=True, resume="fixed")
    radii: list[float] | None = setting(low=0, exclusive=True, resume="fixed")
    num_samples: list[int] | None = setting(low=1, resume="fixed")
    embedding: int | None = setting(low=1, high=MAX_WIDTH, resume="fixed")
    last_graph: str | None = setting(choices=("appearance", "position"), resume="fixed")
    gate: bool | None = setting(resume="fixed")
    residual: str | None = setting(choices=("none", "before", "after"), resume="fixed")
    blend: str | None = setting(choices=("learned", "max", "mean"), resume="fixed")
    convolution: str | None = setting(choices=("edge", "sage", "gat", "sum"), resume="fixed")
    convolutions: int | None = setting(low=1, high=64, resume="fixed")
    grouping: str | None = setting(choices=("ball", "nearest"), resume="fixed")
    width_mult: float | None = setting(low=0, high=1, exclusive=True, resume="fixed")
    size: list[int] | None = setting(low=1, resume="fixed")
    blocks: list[int] | None = setting(low=1, resume="fixed")
    pixels: list[str] | None = setting(choices=("depth", "foreground", "normal"), resume="fixed")
    parts: int | None = setting(low=0, resume="fixed")
    options: dict[str, Any] = setting({}, resume="fixed")
    weights: str | None = setting(resume="fixed")
    freeze: list[str] = setting([], resume="fixed")


@dataclass(frozen=True)
class Loss:
    """Cross-entropy of the classifier, plus a pair loss of ``ogreid.registry.LOSSES``.

    Attributes:
        name: ``ce`` (no pair loss), ``circle`` or ``triplet``.
        dropout: before the classifier.
        label_smoothing: of the cross-entropy.
        neck: give the pair loss the embedding before the network's last BatchNorm (BNNeck).
        margin: of Circle loss (0.25) or triplet loss (0.3).
        gamma: scale of Circle loss.
        pairs: ``batch`` (as released) or ``anchor`` (as in fast-reid).
        normalize: let triplet loss compare embeddings of length 1.
        gather: form the pairs over all processes, with gradients.
        options: further arguments, for losses of your own.
    """

    name: str = setting("circle", choices=LOSSES, resume="fixed")
    dropout: float = setting(0.7, low=0, high=1)
    label_smoothing: float = setting(0.0, low=0, high=1)
    neck: bool = setting(False)
    margin: float | None = setting(low=0)
    gamma: float | None = setting(low=0, exclusive=True)
    pairs: str | None = setting(choices=("batch", "anchor"))
    normalize: bool | None = setting()
    gather: bool | None = setting()
    options: dict[str, Any] = setting({})


@dataclass(frozen=True)
class Optimizer:
    """Optimizer and schedule; the defaults are the published ones: Adam, cosine per epoch, a ramp on the loss.

    Attributes:
        name: ``adam``, ``adamw`` or ``sgd``.
        lr: learning rate at the start of the cosine.
        weight_decay: L2 term of Adam and SGD, decoupled in AdamW.
        amsgrad: keep the largest second moment (Adam and AdamW).
        momentum: of SGD, in Nesterov's form where it is above 0.
        min_lr_ratio: last learning rate of the cosine, as a fraction of ``lr``.
        lr_warmup: epochs over which the learning rate rises from a hundredth, linearly; above 0, the schedule moves
            with each step, not with each epoch.
        lr_factors: part of the module (``network.stages.0``, ``head``) to a factor of its learning rate.
        loss_warmup: epochs over which the *loss* is multiplied by a ramp from 0.1 to 1.
        swa_fraction: fraction of the epochs, at the end, whose weights are averaged; 0 = none.
        ema_decay: of the exponential moving average of the weights after each step; 0 = none.
        compile: compile the network with torch.
    """

    name: str = setting("adam", choices=OPTIMIZERS, resume="fixed")
    lr: float = setting(1e-3, low=0, resume="fixed")
    weight_decay: float = setting(5e-4, low=0, resume="fixed")
    amsgrad: bool = setting(True, resume="fixed")
    momentum: float = setting(0.9, low=0, high=1, resume="fixed")
    min_lr_ratio: float = setting(0.01, low=0, high=1)
    lr_warmup: float = setting(0.0, low=0)
    lr_factors: dict[str, Any] = setting({}, resume="fixed")
    loss_warmup: int = setting(10, low=0)
    swa_fraction: float = setting(0.0, low=0, high=1)
    ema_decay: float = setting(0.0, low=0, high=1, resume="fixed")
    compile: bool = setting(False)


@dataclass(frozen=True)
class Evaluation:
    """How a network is evaluated.

    Attributes:
        scales: at which a cloud is embedded; the embeddings are summed and normalized.
        mirror: embed the mirrored cloud or crop, too; the embeddings are summed and normalized.
        average_precision: definition of the headline mAP, ``trapezoid`` (paper) or ``step``.
        baselines: evaluated once before training: ``untrained``, ``histogram``.
        save_embeddings: keep the embeddings of the last evaluation.
    """

    scales: list[float] = setting([1.0, 1.1], low=0, exclusive=True, nonempty=True)
    mirror: bool = setting(False)
    average_precision: str = setting("trapezoid", choices=("trapezoid", "step"))
    baselines: list[str] = setting([], choices=("untrained", *MODELS))
    save_embeddings: bool = setting(False, resume="free")


@dataclass(frozen=True)
class Ops:
    """Which implementation of the point operations runs: ``auto``, ``fused``, ``cluster`` or ``plain``."""

    backend: str = setting("auto", choices=BACKENDS)


@dataclass(frozen=True)
class Logging:
    """Weights & Biases. ``auto`` is online where a key is known, else offline; it never asks."""

    mode: str = setting("auto", choices=("auto", "online", "offline", "disabled"), resume="free")
    project: str = setting("ogreid", resume="free")
    entity: str | None = setting(None, resume="free")
    group: str | None = setting(None, resume="free")
    tags: list[str] = setting([], resume="free")


@dataclass(frozen=True)
class Runs:
    """Where runs are kept, and how they are guarded.

    Attributes:
        root: folder of all runs.
        pictures: with false, no picture of a person and no colored cloud goes into the run folder, its report or W&B:
            the right choice for real benchmarks on shared servers. Numbers, curves and the map of embeddings stay.
        save_best: also keep ``best.ckpt``, of the highest ``val/mAP``: a network that was chosen on the test set. The
            result of a run is its last network.
        save_every_n_steps: steps between two checkpoints inside an epoch, beside the one at its end; 0 for none.
        skip_bad_steps: steps with a loss or a gradient that is not finite that are skipped, with a warning, before
            training stops.
    """

    root: str = setting("runs", resume="free")
    pictures: bool = setting(True, resume="free")
    save_best: bool = setting(False, resume="free")
    save_every_n_steps: int = setting(200, low=0, resume="free")
    skip_bad_steps: int = setting(0, low=0, resume="free")


@dataclass(frozen=True)
class Experiment:
    """One experiment, resolved.

    Attributes:
        name: of the experiment; its runs lie in a folder of that name.
        description: one line.
        seed: of everything random.
        trainer: arguments of Lightning's ``Trainer``.
        logger: where numbers go beside ``metrics.csv``.
    """

    name: str = setting("experiment", resume="free")
    description: str = setting("", resume="free")
    seed: int = setting(0, low=0, high=2**32 - 1)
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    trainer: dict[str, Any] = setting(
        {"max_epochs": 1000, "check_val_every_n_epoch": 10, "num_sanity_val_steps": 0, "log_every_n_steps": 10},
        free=("enable_progress_bar", "log_every_n_steps"),
        extend=("max_steps", "max_time"),
    )
    ops: Ops = field(default_factory=Ops)
    logger: list[str] = setting(["wandb"], choices=LOGGERS, resume="free")
    wandb: Logging = field(default_factory=Logging)
    runs: Runs = field(default_factory=Runs)
