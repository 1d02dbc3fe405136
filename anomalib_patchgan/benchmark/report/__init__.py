"""The report of benchmark runs: tables, intervals, tests and figures, rebuilt from the files of the jobs."""

from anomalib_patchgan.benchmark.report.write import write_report

__all__ = ["write_report"]
