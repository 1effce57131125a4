"""Meet a step again whose numbers were not finite: ``python -m ogreid.repeat runs/.../checkpoints/bad-step-N.ckpt``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ogreid import doors
from ogreid.errors import NotFinite, UserError


def parser() -> doors.Parser:
    """The command line of this door."""
    made = doors.Parser(
        prog="python -m ogreid.repeat",
        description="Repeat a training step whose loss or gradient was not finite, and name the module that began it.",
    )
    made.add_argument("file", metavar="FILE", help="bad-step-N.ckpt, which the run kept when it stopped")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Restore the network as it was before the step, give it the batch, say what comes out."""
    asked = parser().parse_args(argv)
    from ogreid import checkpoint
    from ogreid.batch import CloudBatch
    from ogreid.callbacks.numbers import first_not_finite
    from ogreid.callbacks.randomness import seed_step

    bad = checkpoint.read(asked.file).get("bad")
    if bad is None:
        raise UserError(f"{asked.file}: holds no batch; give a bad-step-N.ckpt, which a run keeps when its loss is nan")
    if "xyz" not in bad:
        again = f"python -m ogreid.fit --resume {Path(asked.file).parent.parent} runs.pictures=true"
        raise UserError(f"{asked.file}: kept without its clouds (runs.pictures=false); to meet the step again: {again}")
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


def _loss(module: Any, batch: Any) -> str:  # noqa: ANN401 - what torch would have to be imported for
    """Every term of the loss, or who refused to go on."""
    try:
        terms = module.loss(module(batch.xyz, batch.rgb), batch.identity)
    except NotFinite as refused:
        return str(refused)
    return ", ".join(f"{name} {float(value):.6g}" for name, value in terms.items())


if __name__ == "__main__":
    doors.run(main)
