"""Messages of our dependencies that a user can do nothing about; each line names its cause."""

import logging
import warnings

__all__ = ["silence"]


def silence() -> None:
    """Called by the doors before Lightning starts."""
    # Lightning 2.6 asks torch 2.13 for its deprecated LeafSpec (Lightning-AI/pytorch-lightning, utilities/_pytree.py).
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # More loader workers are data.num_workers' business; a step takes far longer than its batch.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A resumed run writes to the folder that it is resumed from; a new run never finds one that exists.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # A loader of ours goes on at the batch where a run was stopped (data/datamodule.py); Lightning knows its own only.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")
    # Which accelerators are absent, and tips for other products of Lightning's makers.
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # One line for each process that joins, said twice.
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
    # Lightning has a handler of its own; with the doors' it would say everything twice.
    logging.getLogger("lightning.pytorch").propagate = False
