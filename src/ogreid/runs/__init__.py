"""Run folders, and what made them."""

from ogreid.runs.run import STAMP, Run, without_nan
from ogreid.runs.versions import provenance

__all__ = ["STAMP", "Run", "provenance", "without_nan"]
