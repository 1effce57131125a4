"""Retrieval on benchmarks that were never trained on (the paper's Table III), while training."""

from ogreid.training.callbacks.evaluation import RetrievalEvaluation
from ogreid.data.module import ReIDDataModule, RetrievalSet

__all__ = ["TransferEvaluation"]


class TransferEvaluation(RetrievalEvaluation):
    """Judges each transfer set when the data module says that it is due.

    Logs ``transfer/<source>-><set>/<number>``, the source being the training sets, joined by ``+``.
    """

    def wants(self, judged: RetrievalSet, data: ReIDDataModule) -> bool:
        """Transfer sets, every so many validations and at the last one."""
        return judged.transfer and data.transfer_due()

    def label(self, judged: RetrievalSet, data: ReIDDataModule) -> str:
        """Source and set."""
        return f"transfer/{'+'.join(data.data.train)}->{judged.name}"
