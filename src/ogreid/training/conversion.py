"""Other forms of a finished network: a released one as a run of ours, any one as a program."""

import logging
import shutil
import warnings
from pathlib import Path

import torch

from ogreid import config, runs
from ogreid.training.checkpoint import build_module
from ogreid.training.inference import network_for
from ogreid.models.published import load_published, published_overrides
from ogreid.config.schema import Experiment, Loss, Model

__all__ = ["published_to_run", "write_program"]

log = logging.getLogger(__name__)


def published_to_run(folder: Path, target: Path, weights: str = "model_last.pth") -> runs.Run:
    """A run folder with the released weights under our names; ``--checkpoint`` then takes it like any other.

    Args:
        folder: the released one.
        target: of the run; written beside, then renamed.
        weights: file in ``folder``.

    Raises:
        InputError: whatever ``load_published`` refuses.
    """
    network, head = load_published(folder, weights)
    identities = head.classifier.out_features
    experiment = Experiment(
        name=target.name,
        description=f"released weights {folder.name}/{weights}",
        model=Model(**published_overrides(folder)),
        loss=Loss(name="ce", dropout=head.dropout.p),
    )
    module = build_module(experiment, identities)
    assert module.loss is not None
    module.network.load_state_dict(network.state_dict())
    module.loss.head.load_state_dict(head.state_dict())
    record = {"experiment": config.to_dict(experiment), "identities": identities, "provenance": runs.provenance()}
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    made = runs.Run(part)
    made.checkpoints.mkdir(parents=True)
    torch.save({"state_dict": module.state_dict(), "ogreid": record}, made.last)
    files.write_text(part / "experiment.yaml", config.to_yaml(experiment))
    part.rename(target)
    log.info("%s: %s, %d identities", target, experiment.description, identities)
    return runs.Run(target)


def write_program(run: str | None, published: str | None, weights: str, target: Path, clouds: int = 1) -> None:
    """``torch.export``'s program of an embedding network: (B, N, 3) xyz and rgb to (B, D).

    The plain operations are exported, so that the file needs nothing but torch. B and N are fixed: the sampling
    loop and the offsets of the clouds in a batch specialize both.

    Args:
        run: a run or checkpoint of ours, or None.
        published: a released folder, or None.
        weights: file in the released folder.
        target: written beside, then renamed.
        clouds: B; N is what the network was trained with.
    """
    judged = network_for(run, published, None, weights)
    network = judged.module.network.eval()
    for part in network.modules():
        if hasattr(part, "backend"):
            part.backend = "plain"  # type: ignore[assignment]  # a name, where nn.Module expects tensors and modules
    # Two tensors on purpose: one given twice would be exported as one input.
    xyz, rgb = torch.randn(2, clouds, judged.data.num_points, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, inside torch.export (pytorch/pytorch#150994)
        program = torch.export.export(network, (xyz, rgb))
    part_file = target.with_name(f"{target.name}.part")
    torch.export.save(program, part_file)
    part_file.rename(target)
    log.info("%s: program for batches of %d clouds of %d points", target, clouds, judged.data.num_points)
