"""Reports of runs and sweeps: pages that need nothing else, and the same numbers as Markdown and CSV."""

from ogreid.reporting.pages import report_text, write_report
from ogreid.reporting.results import read_run
from ogreid.reporting.sweeps import density_figure, read_sweep, sweep_figures, sweep_table

__all__ = ["density_figure", "read_run", "read_sweep", "report_text", "sweep_figures", "sweep_table", "write_report"]
