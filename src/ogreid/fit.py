"""Train one experiment: ``python -m ogreid.fit --experiment NAME [group.key=value ...]``."""

import sys
from collections.abc import Sequence

from ogreid import config
from ogreid.config import command_line
from ogreid.config.slurm import requeued_by_signal
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.fit --experiment demo
  python -m ogreid.fit --experiment market_circle model.k=8 data.batch_size=18
  python -m ogreid.fit --experiment demo trainer.fast_dev_run=true
  python -m ogreid.fit --resume runs/demo/20260101-120000-0
  python -m ogreid.fit --reproduce runs/demo/20260101-120000-0/checkpoints/bad-step-12.ckpt
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.fit",
        description="Train one experiment and evaluate it while it trains.",
        epilog=f"{EPILOG}\nexperiments here: {', '.join(config.experiment_names())}",
    )
    command.add_argument("--experiment", metavar="NAME", help="a name below, or a .yaml file")
    command.add_argument("--resume", metavar="RUN", help="continue a run: its folder, or a checkpoint in it")
    command.add_argument("--reproduce", metavar="FILE", help="repeat the failing step that a run saved, and explain it")
    command.add_argument("--print-config", action="store_true", help="print the resolved experiment and leave")
    command.add_argument("overrides", nargs="*", metavar="group.key=value", help="settings that differ")
    return command


def named_experiment(name: str | None, overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The experiment's name and the settings; ``experiment=NAME`` among them is ``--experiment NAME``.

    W&B's sweep agent can give nothing but ``key=value``.
    """
    names = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
    if len(names) + (name is not None) > 1:
        raise InputError(f"two experiments: {', '.join(filter(None, [name, *names]))}; name one")
    settings = [word for word in overrides if not word.startswith("experiment=")]
    return (names[0] if names else name), settings


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, compose, train."""
    arguments = parser().parse_intermixed_args(argv)
    name, settings = named_experiment(arguments.experiment, arguments.overrides)
    if sum(one is not None for one in (name, arguments.resume, arguments.reproduce)) != 1:
        raise InputError("give one of --experiment NAME, --resume RUN and --reproduce FILE; --help lists the names")
    command_line.quiet()
    if arguments.reproduce:
        from ogreid.training.reproduce import reproduce_step

        sys.stdout.writelines(f"{line}\n" for line in reproduce_step(arguments.reproduce))
        return 0
    from ogreid.runs import Run

    if arguments.resume:
        experiment = Run.open(arguments.resume).experiment(tuple(settings))
    else:
        experiment = config.load(str(name), settings)
    if arguments.print_config:
        sys.stdout.write(config.to_yaml(experiment))
        return 0
    from ogreid.data.datasets.catalogue import check_stores

    check_stores(experiment.data)
    with requeued_by_signal():
        from ogreid.training.train import train

        train(experiment, resume=arguments.resume)
    return 0


if __name__ == "__main__":
    command_line.run(main)
