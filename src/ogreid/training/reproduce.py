"""Meet a step again whose numbers were not finite: ``python -m ogreid.training.reproduce runs/.../checkpoints/bad-step-N.ckpt``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from ogreid.config import command_line
from ogreid.errors import InputError, collect_refusals

_NUMBERS = ("processes", "epoch", "batch", "seed")


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.training.reproduce",
        description="Repeat a training step whose loss or gradient was not finite, and name the module that began it.",
    )
    made.add_argument("file", metavar="FILE", help="bad-step-N.ckpt, which the run kept when it stopped")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Restore the network as it was before the step, give it the batch, say what comes out."""
    asked = parser().parse_args(argv)
    from ogreid.training.train import checkpoint
    from ogreid.data.batch import CloudBatch
    from ogreid.training.callbacks.nan_guard import first_not_finite
    from ogreid.training.callbacks.seeding import seed_step

    bad = _checked(checkpoint.read(_file(asked.file)).get("bad"), asked.file)
    module = checkpoint.restore(asked.file).module.train()
    parts = zip(*(bad[name].chunk(bad["processes"]) for name in CloudBatch._fields), strict=True)
    for rank, part in enumerate(parts):
        batch = CloudBatch(*part)
        seed_step(bad["seed"], bad["epoch"], bad["batch"], rank)
        first = first_not_finite(module, batch)
        seed_step(bad["seed"], bad["epoch"], bad["batch"], rank)
        told = _loss(module, batch)
        sys.stdout.write(f"process {rank}, epoch {bad['epoch']}, batch {bad['batch']}: {told}\nfirst: {first}\n")
    sys.stdout.write("".join(f"  {cloud}\n" for cloud in bad["clouds"]))
    return 0


def _file(given: str) -> str:
    """Where a batch may be; a run has more than one checkpoint, so its folder does not say which is meant."""
    if not Path(given).is_file():
        came = "a folder" if Path(given).is_dir() else "no such file"
        raise InputError(f"{given}: {came}; give a bad-step-N.ckpt, which a run keeps in checkpoints/ when it stops")
    return given


def _checked(bad: Any, file: str) -> dict[str, Any]:  # noqa: ANN401 - whatever a checkpoint holds
    """What `WatchNumbers` keeps of a batch.

    Raises:
        InputError: it is not there, or not whole.
    """
    from torch import Tensor

    from ogreid.data.batch import CloudBatch

    if bad is None:
        raise InputError(f"{file}: holds no batch; give a bad-step-N.ckpt, which a run keeps when its loss is nan")
    if isinstance(bad, dict) and "xyz" not in bad:
        again = f"python -m ogreid.fit --resume {Path(file).parent.parent} runs.pictures=true"
        raise InputError(f"{file}: kept without its clouds (runs.pictures=false); to meet the step again: {again}")
    held: dict[str, Any] = bad if isinstance(bad, dict) else {}
    tensors, numbers = ([held.get(name) for name in names] for names in (CloudBatch._fields, _NUMBERS))
    kinds = [isinstance(one, Tensor) and one.dim() for one in tensors] + [type(one) is int for one in numbers]
    whole = all(kinds) and len({len(held[name]) for name in CloudBatch._fields}) == 1
    if not whole or not 0 < held["processes"] <= len(held["xyz"]):
        raise InputError(f"{file}: its batch is not whole; copy it again, or take another one")
    return {"clouds": [], **held}


def _loss(module: Any, batch: Any) -> str:  # noqa: ANN401 - what torch would have to be imported for
    """Every term of the loss, or what an operation refuses."""
    with collect_refusals([]) as refused:
        terms = module.loss(module(batch.xyz, batch.rgb), batch.identity)
    return refused[0] if refused else ", ".join(f"{name} {float(value):.6g}" for name, value in terms.items())


if __name__ == "__main__":
    command_line.run(main)
