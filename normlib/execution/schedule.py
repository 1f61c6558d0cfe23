"""A study run: what is missing is planned, executed and kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
import warnings
from pathlib import Path
from typing import TypeAlias

from normlib import stack
from normlib.analysis.conditions import label
from normlib.data import load_array
from normlib.datasets import DATASETS, is_file
from normlib.errors import RequestError, checked, real_number, thread_count, whole_number
from normlib.execution.jobs import Dispatch, read_run
from normlib.execution.notebook import notebook_path, plan
from normlib.execution.workers import (
    calling,
    concurrency,
    find_refusal,
    keeps_kernels,
    local_executor,
    local_workers,
    perform,
    shares_disk,
)
from normlib.files import check_inside, check_writable, only_writer, set_aside, write_atomically
from normlib.models.instance import Instance
from normlib.report.sentences import plan_sentence
from normlib.runs.progress import Progress, tell
from normlib.runs.record import OtherVersionError, RecordError, run_key
from normlib.runs.store import load_records, read_record, read_records
from normlib.studies.folder import Failure, failure_path, needed_seeds
from normlib.studies.results import Results, earlier_runs
from normlib.studies.study import Study
from normlib.studies.tuning import tune, tuning_study

Runs: TypeAlias = dict[str, tuple[Instance, int]]  # instance and seed, by key
TUNING = "tuning"  # the folder of the runs by which settings are chosen
_FOLDERS = ("records", "notebooks", "failures", "figures", "set_aside")


@checked
def run_study(
    study: Study,
    out: Path | str,
    executor: concurrent.futures.Executor | None = None,
    threads: int = 1,
    *,
    redo: bool = False,
    timeout: float | None = None,
    retries: int = 2,
) -> list[Failure]:
    """Run what is missing of a study, in executions of the master notebook; what is finished is kept at once.

    A run that fails takes no other along: those of its execution that come after it are tried in executions of their
    own. What the machine is to blame for (a dead kernel, a lost worker) is tried again, an error in a cell is not. A
    run during which the time was up is tried once more, alone.

    Where settings are tuned (see ``normlib.studies.tuning``), the runs by which they are chosen come first, as a study
    of their own in ``out/tuning``; if one fails, the study is not begun. Where a choice was a tie, that ordering is run
    at the nearest tied settings too. A study with looks is run look by look until all its contrasts are decided.

    Where it is interrupted, executions that wait are cancelled, and kernels that this process started are ended. Those
    of a process pool of your own end with it.

    Args:
        study: The study.
        out: Its output folder: ``records/``, ``notebooks/``, ``failures/`` and ``study.yaml`` go there.
        executor: What the executions are given to. The standard library's thread and process pools work on this
            machine, and their kernels write records into ``out`` themselves; from any other executor, such as
            ``distributed.Client(address).get_executor(pure=False)``, records and notebooks come back with the results.
            None: ``workers.local_executor`` with as many workers as there are cores.
        threads: Threads that an operation may use in a run.
        redo: Run also what is done. A record stays until its run has been made again.
        timeout: Seconds that an execution, of one run or several, may take; None: as long as it needs.
        retries: How often a run is tried again.

    Returns:
        The failures, in the study's order; each is also written to ``failures/KEY.json``.

    Raises:
        RequestError: A value that is not allowed; data that are not there; an output folder that cannot be written,
            that another process is writing, or that has records in it which cannot be compared with the study's.
    """
    if timeout is not None:
        allowed = f"a positive number of seconds, at most {threading.TIMEOUT_MAX:.0f}"
        timeout = real_number("timeout", timeout, allowed, lambda seconds: 0 < seconds <= threading.TIMEOUT_MAX)
    retries = whole_number("retries", retries, minimum=0)
    out, threads = Path(out), thread_count(threads)
    with contextlib.nullcontext(executor) if executor is not None else local_executor(threads=threads) as executor:
        run = functools.partial(_run, executor=executor, threads=threads, redo=redo, timeout=timeout, retries=retries)
        if study.tune:
            _check(study, out, threads)  # before much is run
            failures = run(tuning_study(study), out / TUNING)
            if failures:
                return failures
            study = tune(study, read_records(out / TUNING))
        before = 0
        for seeds in study.look_seeds or [study.run_seeds]:
            failures = run(study.with_seeds(seeds[before:]), out, declared=study, planned=not before)
            if failures:
                return failures
            before = len(seeds)
            if study.looks:
                runs = study.select(read_records(out))
                results = Results(study, [record for record in runs if record.seed in seeds])
                tell(look_sentence(results))
                if results.needed_seeds == before:
                    break
        tied = study.tied_version()
        return run(tied.with_seeds(study.run_seeds[:before]), out, declared=study) if tied else []


def look_sentence(results: Results) -> str:
    """Return what is decided at the last look that was taken, and whether the study goes on."""
    estimates, looks = results.estimates, results.study.looks
    last = int(estimates["look"].max())
    decided = estimates[estimates["verdict"] != "undecided"]
    named = "; ".join(
        f"{name}{', ' + row['condition'] if row['condition'] else ''}: {row['verdict']}"
        for name, row in decided.iterrows()
    )
    lost = estimates["mean"].isna().sum()
    diverged = f", of {lost} nothing can be said, since a run diverged" if lost else ""
    end = f"it goes on to {results.needed_seeds} seeds" if results.needed_seeds != last else "it ends"
    return (
        f"{results.study.name}: look {looks.index(last) + 1} of {len(looks)}, {last} seeds: {len(decided)} of "
        f"{len(estimates)} contrasts decided{f' ({named})' if named else ''}{diverged}; {end}"
    )


def _run(
    study: Study,
    out: Path,
    declared: Study | None = None,
    *,
    planned: bool = False,
    executor: concurrent.futures.Executor,
    threads: int,
    redo: bool,
    timeout: float | None,
    retries: int,
) -> list[Failure]:
    """Run what is missing of a study whose settings are chosen.

    The folder says what was ``declared``, where the study is a part of it. When all is checked, ``planned`` says what
    that can tell apart.
    """
    _check(study, out, threads)
    if any(instance.needs_own_code for instance in study.instances):
        _, missing = _plan(study, out, threads, redo)
        own = list(dict.fromkeys(instance for instance, _ in missing.values() if instance.needs_own_code))
        # Code that cannot be used is found out once, and where it is to run, before any kernel starts.
        if own and (refusal := executor.submit(find_refusal, own, timeout).result()) is not None:
            raise refusal
    out = out.absolute()  # kernels have working directories of their own
    with only_writer(out, "out"), calling(executor) as caller:
        set_invalid_aside(out)
        runs, missing = _plan(study, out, threads, redo)
        as_run = f"# {study.name}, as run with --threads {threads}\n{(declared or study).to_yaml()}"
        write_atomically(out / "study.yaml", as_run)
        for key in runs:
            failure_path(out, key).unlink(missing_ok=True)
        make = functools.partial(
            perform,
            notebook=notebook_path("instance").read_text(encoding="utf-8"),
            callers_stack=stack.installed(),
            records_dir=str(out / "records") if shares_disk(executor) else "",
            caller=caller,
            keep_kernel=keeps_kernels(executor),
            study_sha256=study.declared_in,
            timeout=timeout,
        )
        if declared and planned:
            tell(plan_sentence(declared, earlier_runs(declared, out)))
        with Progress(len(runs), study.name, done=len(runs) - len(missing)) as progress:
            dispatch = Dispatch(missing, out, executor, make, retries, progress)
            failures = dispatch.finish(plan(missing.values(), threads, concurrency(executor)))
    order = {key: place for place, key in enumerate(runs)}
    return sorted(failures, key=lambda failure: order[failure.key])


def _plan(study: Study, out: Path, threads: int, redo: bool) -> tuple[Runs, Runs]:
    """Return all runs of a study, and those that are to be run."""
    runs = {run_key(i, seed, threads): (i, seed) for i in study.instances for seed in study.run_seeds}
    return runs, {key: run for key, run in runs.items() if redo or read_run(out, key) is None}


def describe_plan(study: Study, out: Path, threads: int = 1, workers: int | None = None, redo: bool = False) -> str:
    """Return what would be run, as text: a line an execution, then the number of runs; nothing is written.

    Of a study that tunes settings, it is the runs by which they are chosen.

    Args:
        study: The study.
        out: Its output folder; runs whose records are there are not run again.
        threads: Threads that an operation may use in a run.
        workers: Number of executions at once; None: as many as there are cores for.
        redo: Run also what is done.

    Raises:
        RequestError: As ``run_study``.
    """
    lines = []
    if study.tune:
        study, out = tuning_study(study), out / TUNING
        lines.append("by these runs, each ordering's own settings are chosen, with which the study is then run:")
    threads = thread_count(threads)
    if study.looks and (seeds := needed_seeds(study, study.select(read_records(out)) if out.is_dir() else [])):
        lines.append(f"up to the look of {seeds} seeds; while a contrast is undecided, then to {study.seeds} at most:")
        study = study.with_seeds(study.run_seeds[:seeds])
    _check(study, out, threads)
    runs, missing = _plan(study, out, threads, redo)
    executions = plan(missing.values(), threads, local_workers(workers, threads))
    for execution in executions:
        condition = label(execution.instance.settings, study.varies)
        lines.append(f"{execution.name}: {execution.seeds} runs{', ' if condition else ''}{condition}")
    return "\n".join([*lines, f"{len(executions)} executions, {len(missing)} of {len(runs)} runs to do, into {out}"])


def set_invalid_aside(out: Path) -> None:
    """Move what is no record out of a study's ``records/`` into ``set_aside/``, and name it.

    It may be truncated, edited, another run's or none of normlib's. Nothing is deleted.

    Args:
        out: The study's folder.

    Raises:
        RequestError: One was written by another version of normlib, which this one must not take for damaged.
    """
    invalid = {}
    for path in sorted((out / "records").glob("*.json")):
        try:
            if (key := read_record(path).key) != path.stem:
                invalid[path] = f"it is the record of the run {key}"
        except OtherVersionError as error:
            raise RequestError("out", str(out), problem=f"records/{path.name} in it is {error}") from None
        except RecordError as error:
            invalid[path] = str(error)
    for path, reason in invalid.items():
        target = set_aside(path, out / "set_aside").relative_to(out)
        warnings.warn(f"set aside {path.relative_to(out)} of {out} as {target}: {reason}", stacklevel=3)


def _check(study: Study, out: Path, threads: int) -> None:
    """Refuse a folder that cannot be written, or whose records come from another stack or number of threads."""
    for dataset in dict.fromkeys(instance.dataset for instance in study.instances):
        if is_file(dataset) or DATASETS[dataset].download:  # others ship with normlib
            load_array(dataset, "y_test")  # that it is not there is told once, and not by each run
    check_inside(out, "out")
    for folder in (out, *(out / name for name in _FOLDERS)):
        check_writable(folder, "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is no record is named when it is set aside
        there = load_records(out) if out.is_dir() else None
    if there is None or there.empty:
        return
    stacks = dict.fromkeys(stack.describe(stack.versions(instance.provider)) for instance in study.instances)
    for name, here in (("threads", [str(threads)]), ("stack", list(stacks))):
        if others := sorted(set(there[name].map(str)) - set(here)):
            problem = f"{name} is {' and '.join(others)} there, {' and '.join(here)} here"
            raise RequestError("out", str(out), problem=f"its records cannot be compared with the study's: {problem}")
