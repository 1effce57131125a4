"""What all commands share: one way to fail, to log and to say which network."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from ogreid.errors import InputError, MissingFileError


class Parser(argparse.ArgumentParser):
    """argparse that keeps examples as they are written and raises :class:`InputError` for a wrong command line."""

    def __init__(self, prog: str, description: str | None = None, epilog: str | None = None) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, epilog=epilog, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage above the message."""
        raise InputError(f"{message}; `{self.prog} --help` shows how")


def network_arguments(parser: Parser, *, untrained: bool = True) -> None:
    """The arguments of :func:`ogreid.training.inference.load_network`: at most one names the network."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--checkpoint",
        metavar="RUN",
        help="a run folder (its result), or a .ckpt file of any Trainer (default: the network that ships with ogreid)",
    )
    which.add_argument("--published", metavar="FOLDER", help="a released folder: opts.yaml and its weights")
    if untrained:
        which.add_argument("--model", metavar="NAME", help="a network without training, for example histogram")
    parser.add_argument("--weights", default="model_last.pth", help="file in the released folder (%(default)s)")


def network(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``load_network`` that a command line with :func:`network_arguments` gives."""
    return {name: getattr(options, name, None) for name in ("checkpoint", "published", "model", "weights")}


def body_arguments(parser: argparse._ActionsContainer) -> None:
    """The arguments of :func:`ogreid.data.datasets.fitted_bodies.landmark_source`."""
    parser.add_argument("--bodies", metavar="estimate|FILE", help="fit bodies to landmarks, or take a bodies.npz")
    parser.add_argument("--landmarks", type=Path, metavar="DIR", help="COCO or BlazePose points of another tool to fit")
    parser.add_argument("--pose-model", type=Path, metavar="FILE", help="the landmark network (default: see make pose)")


def check_bodies(arguments: argparse.Namespace) -> None:
    """Refuse arguments about bodies that contradict each other; ``--landmarks`` means ``--bodies estimate``.

    Raises:
        InputError: names the arguments.
    """
    if arguments.faces is not None and arguments.meshes is None:
        raise InputError("--faces requires --meshes")
    if arguments.landmarks is not None and arguments.pose_model is not None:
        raise InputError("--landmarks and --pose-model: expected one source of landmarks")
    if arguments.landmarks is not None and arguments.bodies is None:
        arguments.bodies = "estimate"
    if arguments.bodies != "estimate" and (arguments.landmarks or arguments.pose_model):
        raise InputError("--landmarks and --pose-model require --bodies estimate")
    if arguments.bodies is not None and arguments.meshes is not None:
        raise InputError("--bodies and --meshes: expected one source of bodies")


def check_table(option: str, path: Path | None, endings: Sequence[str]) -> None:
    """Before anything is computed: refuse a table's name of another ending, a missing folder or package."""
    if path is None:
        return
    if path.suffix not in endings:
        raise InputError(f"{option} {path}: expected a name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise MissingFileError(f"{option} {path}: its folder does not exist; make it or choose another")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f'{option} {path}: writing it needs pyarrow; pip install "ogreid[export]"')


def show(page: Path, *, browse: bool) -> None:
    """Say where a page is, and open it in the browser."""
    sys.stdout.write(f"{page}\n")
    if browse:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def quiet() -> None:
    """Silence messages of our dependencies that a user of a command can do nothing about."""
    # Lightning 2.6 asks torch 2.13 for its deprecated LeafSpec (Lightning-AI/pytorch-lightning, utilities/_pytree.py).
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # More loader workers are data.num_workers' business; a step takes far longer than its batch.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A resumed run writes to the folder that it is resumed from; a new run never finds one that exists.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # The classifier is all that configure_model makes, and it is made once.
    warnings.filterwarnings("ignore", message="You're using the WeightAveraging callback with a model that overrides")
    # Our loader starts at the batch where a run was stopped (data/module.py); Lightning knows its own only.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")
    # On a login node of SLURM Lightning recommends srun to everybody (lightning/fabric/plugins/environments/slurm.py).
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system but is not used")
    # Which accelerators are absent, and tips for other products of Lightning's makers.
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # One line for each process that joins, said twice.
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
    # Lightning has a handler of its own; with the commands' it would say everything twice.
    logging.getLogger("lightning.pytorch").propagate = False


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> NoReturn:
    """Call a command with its arguments and leave with its status.

    An :class:`InputError` becomes one line on standard error and status 2; an interruption becomes status 130.
    Everything else is a fault of ours and keeps its traceback.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger().handlers[0].setLevel(logging.INFO)
    logging.getLogger("ogreid").setLevel(logging.INFO)
    try:
        status = main(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        status = 2
    except BrokenPipeError:
        # The reader (`| head`) went away; a second error while Python flushes would only confuse.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = 130
    sys.exit(status)
