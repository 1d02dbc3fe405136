"""The report of benchmark runs: tables, intervals, tests and figures, rebuilt from the files of the jobs."""

from anomalib_patchgan.benchmark.report.write import lacks_figures, write_report

__all__ = ["lacks_figures", "write_report"]
