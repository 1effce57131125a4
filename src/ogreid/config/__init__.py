"""Experiments: their schema, and how they are composed from YAML. Loads without torch."""

from ogreid.config.compose import (
    changed_settings,
    data_root,
    experiment_names,
    find_experiments,
    from_dict,
    load,
    to_dict,
    to_yaml,
)
from ogreid.config.constraints import check, options
from ogreid.config.schema import (
    Augmentation,
    Data,
    Evaluation,
    Experiment,
    Logging,
    Loss,
    Model,
    Ops,
    Optimizer,
    Runs,
)

__all__ = [
    "Augmentation",
    "Data",
    "Evaluation",
    "Experiment",
    "Logging",
    "Loss",
    "Model",
    "Ops",
    "Optimizer",
    "Runs",
    "changed_settings",
    "check",
    "data_root",
    "experiment_names",
    "find_experiments",
    "from_dict",
    "load",
    "options",
    "to_dict",
    "to_yaml",
]
