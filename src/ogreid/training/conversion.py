"""A released network as a run."""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import lightning as L
import torch

from ogreid import config, files
from ogreid.config.schema import Data, Experiment, Loss, Model
from ogreid.models.published import load_published, published_overrides
from ogreid.runs import Run, provenance
from ogreid.training.train import build_module

log = logging.getLogger(__name__)


def published_to_run(folder: Path, target: Path, weights: str = "model_last.pth") -> Run:
    """A run folder with the released weights under our names; ``--checkpoint`` then takes it like any other.

    Args:
        folder: the released one.
        target: of the run; written beside, then renamed.
        weights: file in ``folder``.

    Raises:
        InputError: whatever ``load_published`` refuses.
    """
    network, head = load_published(folder, weights)
    experiment = Experiment(
        name=target.name,
        description=f"released weights {folder.name}/{weights}",
        model=Model(**published_overrides(folder)),
        loss=Loss(name="ce", dropout=head.dropout.p),
    )
    module = build_module(experiment, start=False)
    module.network.load_state_dict(network.state_dict())
    module.add_head(head.classifier.out_features)
    assert module.head is not None
    module.head.load_state_dict(head.state_dict())
    content = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "datamodule_hyper_parameters": {**asdict(Data()), "seed": experiment.seed},
        "ogreid": {"experiment": config.to_dict(experiment), "provenance": provenance()},
        "pytorch-lightning_version": L.__version__,
    }
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    run = Run(part)
    run.checkpoints.mkdir(parents=True)
    torch.save(content, run.last)
    files.write_text(part / "experiment.yaml", config.to_yaml(experiment))
    part.rename(target)
    log.info("%s: %s, %d identities", target, experiment.description, head.classifier.out_features)
    return Run(target)
