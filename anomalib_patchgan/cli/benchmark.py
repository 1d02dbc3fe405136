"""`anomalib-patchgan benchmark`: compares models on data sets, resumes, and writes the report."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.cli.loading import load_anomalib
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.failures import FAILURE

if TYPE_CHECKING:
    from anomalib_patchgan.benchmark.plan import Plan

_EPILOG = """\
The file follows the format of anomalib's benchmark; see benchmarks/README.md and benchmarks/phantom.yaml.
Every finished job is saved at once. The same command again does what is missing, failed, or was done by other code of
its model (unless --accept_older_code).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["--config", "benchmarks/phantom.yaml"]).force
        False
    """
    parser.epilog = _EPILOG
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file of the benchmark")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="run folder (default: runs/benchmark/NAME OF THE FILE)"
    )
    parser.add_argument("--root", metavar="FOLDER", help="folder of the data, instead of `root` in the file")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="do only what is missing in the run folder (default)")
    how.add_argument("--force", action="store_true", help="redo every job")
    parser.add_argument(
        "--accept_older_code",
        action="store_true",
        help="accept results that older code of a model made with the same settings; the report names them",
    )
    parser.add_argument("--no-examples", action="store_true", help="leave images of the data out of the report")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: The options, and the `command_line` for the record.

    Returns:
        0, or 1 when a job failed.

    Raises:
        ConfigurationError: The file cannot work.
        PatchGanError: The run folder or the data cannot be used.
    """
    if args.force and args.accept_older_code:
        msg = "--force does every job again, --accept_older_code keeps results: give one of the two."
        raise ConfigurationError(msg)
    load_anomalib()

    from anomalib_patchgan.benchmark.backbones import register_offline_backbone
    from anomalib_patchgan.benchmark.check import check_data, check_plan
    from anomalib_patchgan.benchmark.plan import read_plan
    from anomalib_patchgan.benchmark.report import write_report
    from anomalib_patchgan.benchmark.results import JOBS, read_job
    from anomalib_patchgan.benchmark.run import accept_older_code, is_finished, run_jobs

    register_offline_backbone()
    plan = check_plan(read_plan(args.config, args.root))
    folder = args.out or Path("runs") / "benchmark" / args.config.stem
    older: list[str] = []
    if args.accept_older_code:
        jobs = accept_older_code(plan.jobs, folder)
        older = [new.id for spec, new in zip(plan.jobs, jobs, strict=True) if new.id != spec.id]
        plan = replace(plan, jobs=jobs)
    _write_description(folder, plan, args.command_line, older)
    missing = [spec for spec in plan.jobs if args.force or not is_finished(folder, spec)]
    check_data(missing)
    logging.getLogger(__name__).info("%d of %d jobs to do, results in %s", len(missing), len(plan.jobs), folder)
    run_jobs(plan.jobs, folder, force=args.force)
    failed = [spec.id for spec in plan.jobs if not is_finished(folder, spec)]
    write_report([folder], folder, examples=not args.no_examples)
    sys.stdout.write(f"{folder / 'report.html'}\n")
    for name in failed:
        result = read_job(folder / JOBS / f"{name}.json")
        sys.stderr.write(f"failed: {name}: {result.error if result else 'not run'}\n")
    return FAILURE if failed else 0


def _write_description(folder: Path, plan: "Plan", command_line: str, older: Sequence[str]) -> None:
    """Write `run.json`; jobs of another version of the file stay, and the report leaves them out.

    Args:
        folder: Run folder.
        plan: What is to be done.
        command_line: As it was given.
        older: Jobs that older code did.
    """
    from anomalib_patchgan.benchmark.results import FORMAT, RUN
    from anomalib_patchgan.files import write_json

    try:
        write_json(
            folder / RUN,
            {
                "format": FORMAT,
                "name": plan.name,
                "reference": plan.reference,
                "command": command_line,
                "config": plan.config,
                "jobs": [spec.id for spec in plan.jobs],
                "older_code": list(older),
                "models": list(dict.fromkeys(spec.model for spec in plan.jobs)),
            },
        )
    except OSError as error:
        msg = f"{folder} cannot be written to ({error.strerror}): give another --out."
        raise ConfigurationError(msg) from error
