"""Run folders, and what made them."""

from ogreid.runs.provenance import provenance
from ogreid.runs.run import STAMP, Run

__all__ = ["STAMP", "Run", "provenance"]
