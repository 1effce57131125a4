"""Train one experiment: ``python -m ogreid.fit --experiment NAME [group.key=value ...]``."""

from collections.abc import Sequence

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.fit --experiment demo
  python -m ogreid.fit --experiment market_circle model.k=8 data.batch_size=18
  python -m ogreid.fit --experiment demo trainer.fast_dev_run=true
  python -m ogreid.fit --resume runs/demo/20260101-120000-0
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.fit",
        description="Train one experiment and judge it while it trains.",
        epilog=f"{EPILOG}\nexperiments here: {', '.join(config.experiment_names())}",
    )
    made.add_argument("--experiment", metavar="NAME", help="a name below, or a .yaml file")
    made.add_argument("--resume", metavar="RUN", help="go on with a run: its folder, or a checkpoint in it")
    made.add_argument("--print-config", action="store_true", help="print the resolved experiment and leave")
    made.add_argument("overrides", nargs="*", metavar="group.key=value", help="settings that differ")
    return made


def named_experiment(given: str | None, overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The experiment's name and the settings; ``experiment=NAME`` among them is ``--experiment NAME``.

    W&B's sweep agent can hand over nothing but ``key=value``, and a sweep over whole experiments is a fair question.
    """
    names = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
    if len(names) + (given is not None) > 1:
        raise InputError(f"two experiments: {', '.join(filter(None, [given, *names]))}; name one")
    settings = [word for word in overrides if not word.startswith("experiment=")]
    return (names[0] if names else given), settings


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, compose, train."""
    asked = parser().parse_intermixed_args(argv)
    name, settings = named_experiment(asked.experiment, asked.overrides)
    if (name is None) == (asked.resume is None):
        raise InputError("give --experiment NAME, or --resume RUN; --help lists the names")
    from ogreid import runs

    old = runs.open_run(asked.resume) if asked.resume else None
    experiment = old.experiment(tuple(settings)) if old else config.load(str(name), settings)
    if asked.print_config:
        import sys

        sys.stdout.write(config.to_yaml(experiment))
        return 0
    from ogreid.data.datasets.catalogue import check_stores

    check_stores(experiment.data)
    from ogreid.training.train import train

    train(experiment, resume=asked.resume)
    return 0


if __name__ == "__main__":
    command_line.run(main)
