"""Person re-identification in 3D: crops lifted to colored point clouds, OG-Net and its rivals, exact retrieval."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ogreid.data.module import ReIDDataModule
    from ogreid.models.ognet import OGNet
    from ogreid.training.callbacks.evaluation import RetrievalEvaluation, TransferEvaluation
    from ogreid.training.extractor import Extractor
    from ogreid.training.module import ReIDModule

__all__ = [
    "Extractor",
    "OGNet",
    "ReIDDataModule",
    "ReIDModule",
    "RetrievalEvaluation",
    "TransferEvaluation",
    "__version__",
]

__version__ = "0.2.0"

_LAZY = {
    "Extractor": "ogreid.training.extractor",
    "OGNet": "ogreid.models.ognet",
    "ReIDDataModule": "ogreid.data.module",
    "ReIDModule": "ogreid.training.module",
    "RetrievalEvaluation": "ogreid.training.callbacks.evaluation",
    "TransferEvaluation": "ogreid.training.callbacks.evaluation",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: ``import ogreid`` itself loads nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'ogreid' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
