"""Other forms of a finished network: a released one as a run, any one as a program."""

import logging
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn

from ogreid import config, files
from ogreid.config.schema import Data, Experiment, Loss, Model
from ogreid.models.published import load_published, published_overrides
from ogreid.runs import Run, provenance
from ogreid.training.inference import Network
from ogreid.training.train import build_module

log = logging.getLogger(__name__)
CROP_PIXELS = 128 * 64


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


def write_program(network: Network, target: Path, clouds: int = 1) -> None:
    """``torch.export``'s program of an embedding network: (B, N, 3) xyz and rgb to (B, D).

    The plain operations are exported, so that the file needs nothing but torch. B and N are fixed: the sampling
    loop and the offsets of the clouds in a batch specialize both. A network that was trained on flat clouds gets
    them: its program leaves depth out.

    Args:
        network: see :func:`ogreid.training.inference.load_network`.
        target: written beside, then renamed.
        clouds: B; N is what the network was trained with, or all pixels of a crop, row by row.
    """
    data = network.data_module()
    backbone = network.module.network
    backbone = (_Flat(backbone) if data.config.inputs == "image" else backbone).eval()
    for part in backbone.modules():
        if hasattr(part, "backend"):
            part.backend = "plain"  # type: ignore[assignment]  # a name, where nn.Module expects tensors and modules
    stored = max(CROP_PIXELS, data.config.num_points)
    points = CROP_PIXELS if data.config.inputs == "crop" else data.num_points(stored)
    # Two tensors on purpose: one given twice would be exported as one input.
    xyz, rgb = torch.randn(2, clouds, points, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch.export itself (pytorch/pytorch#150994)
        program = torch.export.export(backbone, (xyz, rgb))
        with files.atomic_write(target) as file:
            torch.export.save(program, file)
    log.info("%s: program for batches of %d clouds of %d points", target, clouds, points)


class _Flat(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        embedding: Tensor = self.network(xyz * xyz.new_tensor([1.0, 1.0, 0.0]), rgb)
        return embedding
