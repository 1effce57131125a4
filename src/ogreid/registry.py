"""Every family that can be extended, by name: a new network, loss, sampler, data set or logger is one line here.

A value is ``"module:attribute"``, imported when it is first needed, so that commands can offer the names before torch
loads; or the object itself, where a program registers its own before it names it.
"""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from ogreid.errors import InputError, nearest_names

MODELS: dict[str, Any] = {
    "ognet": "ogreid.models.ognet:OGNet",
    "ognet_small": "ogreid.models.ognet:ognet_small",
    "ognet_deep": "ogreid.models.ognet:ognet_deep",
    "dgcnn": "ogreid.models.dgcnn:DGCNN",
    "pointnet2_ssg": "ogreid.models.pointnet2:PointNet2",
    "pointnet2_msg": "ogreid.models.pointnet2:pointnet2_msg",
    "resnet50": "ogreid.models.image_cnn:ResNet50",
    "densenet121": "ogreid.models.image_cnn:DenseNet121",
    "mobilenetv2": "ogreid.models.image_cnn:MobileNetV2",
    "shufflenetv2": "ogreid.models.image_cnn:ShuffleNetV2",
    "lifted_resnet": "ogreid.models.lifted_resnet:LiftedResNet",
    "histogram": "ogreid.models.histogram:Histogram",
}
"""Networks: called with options, each gives a module ``(xyz, rgb) -> (B, D)``."""

LOSSES: dict[str, Any] = {
    "ce": "ogreid.losses:NoPairLoss",
    "circle": "ogreid.losses:CircleLoss",
    "triplet": "ogreid.losses:TripletLoss",
}
"""What is added to the cross-entropy of the classifier: modules ``(embedding, identity) -> scalar``."""

OPTIMIZERS: dict[str, Any] = {"adam": "torch.optim:Adam", "adamw": "torch.optim:AdamW", "sgd": "torch.optim:SGD"}
"""Optimizers: called with parameters and those of :class:`ogreid.config.Optimizer`'s numbers that they take."""

SAMPLERS: dict[str, Any] = {
    "random": "ogreid.data.samplers:random_order",
    "balanced": "ogreid.data.samplers:balanced",
    "class_balanced": "ogreid.data.samplers:class_balanced",
    "pk": "ogreid.data.samplers:pk",
}
"""Orders of an epoch: functions ``(identity, num_instances, generator) -> rows``."""

DATASETS: dict[str, Any] = {
    "market": "ogreid.data.datasets.readers:MARKET",
    "duke": "ogreid.data.datasets.readers:DUKE",
    "msmt": "ogreid.data.datasets.readers:MSMT",
    "cuhk": "ogreid.data.datasets.readers:CUHK",
    "cuhk_labeled": "ogreid.data.datasets.readers:CUHK_LABELED",
    "folder": "ogreid.data.datasets.readers:FOLDER",
    "plaza": "ogreid.data.datasets.readers:PLAZA",
    "winter": "ogreid.data.datasets.readers:WINTER",
    "transit": "ogreid.data.datasets.readers:TRANSIT",
    "platform": "ogreid.data.datasets.readers:PLATFORM",
}
"""Data sets that can be packed: each a ``Benchmark``, which says how it lies on disk."""

LOGGERS: dict[str, Any] = {
    "csv": "ogreid.training.loggers:csv_logger",
    "wandb": "ogreid.training.loggers:wandb_logger",
    "tensorboard": "ogreid.training.loggers:tensorboard_logger",
    "mlflow": "ogreid.training.loggers:mlflow_logger",
}
"""Where numbers go while training: functions ``(experiment, run) -> Logger``, or None for nowhere."""

VARIANTS: dict[str, Any] = {
    "re-ranked": "ogreid.retrieval.variants:reranked",
    "expanded": "ogreid.retrieval.variants:expanded",
    "multi-query": "ogreid.retrieval.variants:multi_query",
}
"""Other ways to query a gallery: functions ``(query, gallery) -> RetrievalResult`` of two ``Side``."""

BACKENDS: tuple[str, ...] = ("auto", "fused", "cluster", "plain")
"""Implementations of the point operations."""


def build(family: str, registry: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """What a registered class or function makes of named options.

    Args:
        family: see :func:`resolve`.
        registry: see :func:`resolve`.
        name: see :func:`resolve`.
        options: arguments by name.

    Raises:
        InputError: an unknown name or option, with the nearest ones.
    """
    make = resolve(family, registry, name)
    known = signature(make).parameters
    for key in options:
        if key not in known:
            raise InputError(f"{family} {name}: has no option {key!r}; {nearest_names(key, known)}")
    return make(**options)


def resolve(family: str, registry: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - whatever the family holds
    """The object that a registry names.

    Args:
        family: what to call it in an error: ``model``, ``loss``.
        registry: one of this module's.
        name: a key of it.

    Raises:
        InputError: an unknown name, with the nearest ones.
    """
    if name not in registry:
        raise InputError(f"{family} {name!r} is unknown; {nearest_names(name, registry)}")
    entry = registry[name]
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)
