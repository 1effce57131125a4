"""Reports of runs: one HTML file each that needs nothing else, and the same numbers as Markdown and CSV."""

from ogreid.reporting.comparison import write_comparison
from ogreid.reporting.page import write_report
from ogreid.reporting.reading import RunRecord, read_run

__all__ = ["RunRecord", "read_run", "write_comparison", "write_report"]
