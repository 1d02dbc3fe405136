"""The benchmark as an anomalib pipeline: which jobs are missing, and who runs them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from anomalib.pipelines.benchmark.generator import BenchmarkJobGenerator
from anomalib.pipelines.benchmark.pipeline import Benchmark
from anomalib.pipelines.components.base import Runner
from anomalib.pipelines.components.runners import ParallelRunner, SerialRunner
from anomalib.pipelines.components.runners.parallel import ParallelExecutionError
from anomalib.pipelines.components.runners.serial import SerialExecutionError

from anomalib_patchgan.benchmark.job import RawScoreBenchmarkJob
from anomalib_patchgan.benchmark.plan import JobSpec, Plan
from anomalib_patchgan.benchmark.results import JOBS, read_result


class JobQueue:
    """The jobs to run, with a length, from which the runner's progress bar tells the remaining time.

    Args:
        specs: The jobs to run.
        all_specs: All jobs of the benchmark.
        run_folder: Where results are.
    """

    def __init__(self, specs: list[JobSpec], all_specs: Sequence[JobSpec], run_folder: Path) -> None:
        self.specs = specs
        self.all_specs = all_specs
        self.run_folder = run_folder

    def __len__(self) -> int:
        """Count the jobs."""
        return len(self.specs)

    def __iter__(self) -> Iterator[RawScoreBenchmarkJob]:
        """Make one job after the other, and let a later one measure the costs when the first of its model failed."""
        for spec in self.specs:
            measure_cost = spec.measure_cost or not self._costs_are_known(spec)
            yield RawScoreBenchmarkJob(replace(spec, measure_cost=measure_cost), self.run_folder)

    def _costs_are_known(self, spec: JobSpec) -> bool:
        """Tell whether a finished job of the same model and data has measured what the model costs."""
        same = (other for other in self.all_specs if (other.model, other.data) == (spec.model, spec.data))
        results = (read_result(self.run_folder / JOBS / f"{other.id}.json") for other in same)
        return any(result is not None and "parameters" in result.cost for result in results)


class MissingJobs(BenchmarkJobGenerator):
    """Generates the jobs of one accelerator that have no result yet.

    Args:
        accelerator: `cpu` or `cuda`.
        plan: The benchmark.
        run_folder: Where results are.
        force: Generate the jobs that have a result, too.
    """

    def __init__(self, accelerator: str, plan: Plan, run_folder: Path, *, force: bool = False) -> None:
        super().__init__(accelerator)
        self.plan = plan
        self.run_folder = run_folder
        self.force = force

    @property
    def job_class(self) -> type[RawScoreBenchmarkJob]:
        """The class of the jobs."""
        return RawScoreBenchmarkJob

    def generate_jobs(  # type: ignore[override] # anomalib's is a generator, which has no length
        self,
        args: Any = None,  # noqa: ANN401
        previous_stage_result: Any = None,  # noqa: ANN401
    ) -> JobQueue:
        """Return the jobs; both arguments are anomalib's and say nothing that the plan does not."""
        del args, previous_stage_result
        mine = [spec for spec in self.plan.jobs if spec.accelerator == self.accelerator]
        missing = [spec for spec in mine if self.force or not is_finished(self.run_folder, spec)]
        return JobQueue(missing, mine, self.run_folder)


class RawScoreBenchmark(Benchmark):
    """anomalib's benchmark pipeline over a plan: resumes, and tells which jobs failed.

    Args:
        plan: The benchmark.
        run_folder: Where results go.
        force: Do again what has a result; a job's old one stays until the new one replaces it.
    """

    def __init__(self, plan: Plan, run_folder: Path, *, force: bool = False) -> None:
        self.plan = plan
        self.run_folder = run_folder
        self.force = force

    def runners(self) -> list[Runner]:
        """Make the runners: one job after the other on a CPU, one per GPU where there are several."""
        runners: list[Runner] = []
        for accelerator in self.plan.accelerators:
            jobs = MissingJobs(accelerator, self.plan, self.run_folder, force=self.force)
            devices = torch.cuda.device_count() if accelerator == "cuda" else 1
            runners.append(ParallelRunner(jobs, n_jobs=devices) if devices > 1 else SerialRunner(jobs))
        return runners

    def run(self, args: Any = None) -> None:  # noqa: ANN401 - anomalib's signature
        """Run what is missing. Failed jobs do not end the run and are found in their files; anomalib only logs them."""
        del args
        for runner in self.runners():
            with contextlib.suppress(SerialExecutionError, ParallelExecutionError):
                runner.run({})


def is_finished(run_folder: Path, spec: JobSpec) -> bool:
    """Tell whether a job has a result; a failed one has not.

    Raises:
        DataError: Its file is of another version.
    """
    result = read_result(run_folder / JOBS / f"{spec.id}.json")
    return result is not None and result.error is None and (run_folder / JOBS / f"{spec.id}.npz").is_file()
