"""Reports of runs: one HTML file each that needs nothing else, and the same numbers as Markdown and CSV."""

from ogreid.reporting.comparison import write_comparison, write_sweep
from ogreid.reporting.page import write_report
from ogreid.reporting.reading import RunRecord, read_run
from ogreid.reporting.tables import csv_table, markdown_table

__all__ = ["RunRecord", "csv_table", "markdown_table", "read_run", "write_comparison", "write_report", "write_sweep"]
