"""A study run: what is missing is planned, executed and kept."""

from __future__ import annotations

import concurrent.futures
import tempfile
import threading
import warnings
from pathlib import Path

from normlib import stack
from normlib.analysis.conditions import label
from normlib.data import load_array
from normlib.errors import RequestError, checked, real_number, thread_count, whole_number
from normlib.execution import kernels
from normlib.execution.jobs import Dispatch, Runs, read_run
from normlib.execution.notebook import Execution, check_parameters, notebook_path, plan
from normlib.execution.workers import Job, concurrency, find_refusal, local_executor, local_workers, shares_disk
from normlib.files import check_inside, check_writable, only_writer, set_aside, sweep, write_atomically
from normlib.models.instance import Instance
from normlib.runs.progress import Progress
from normlib.runs.record import OtherVersionError, RecordError, run_key
from normlib.runs.store import load_records, read_record
from normlib.studies.folder import Failure, failure_path, read_study_records
from normlib.studies.study import Study
from normlib.studies.tuning import tuned, tuning_study

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
    of their own in ``out/tuning``; if one fails, the study is not begun.

    Where it is interrupted, executions that wait are cancelled, and kernels that this process started are ended. Those
    of a process pool of your own end with it.

    Args:
        study: The study.
        out: Its output folder: ``records/``, ``notebooks/``, ``failures/`` and ``study.yaml`` go there.
        executor: What the executions are given to. The standard library's thread and process pools work on this
            machine, and their kernels write records into ``out`` themselves; from any other executor, such as
            ``distributed.Client(address).get_executor(pure=False)``, records and notebooks come back with the results.
            None: ``executors.local_executor`` with as many workers as there are cores.
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
    if executor is None:
        with local_executor(threads=threads) as executor:
            return run_study(study, out, executor, threads, redo=redo, timeout=timeout, retries=retries)
    if timeout is not None:
        allowed = f"a positive number of seconds, at most {threading.TIMEOUT_MAX:.0f}"
        timeout = real_number("timeout", timeout, allowed, lambda seconds: 0 < seconds <= threading.TIMEOUT_MAX)
    retries = whole_number("retries", retries, minimum=0)
    stack.check_keras()
    threads = _check(study, Path(out), threads)
    if study.tune:
        stage, folder = tuning_study(study), Path(out) / TUNING
        failures = run_study(stage, folder, executor, threads, redo=redo, timeout=timeout, retries=retries)
        if failures:
            return failures
        study = tuned(study, read_study_records(folder / "records")[1])
    _check_own_code(study, Path(out), executor, threads, redo, timeout)
    out = Path(out).absolute()  # kernels have working directories of their own
    master = notebook_path("instance")
    check_parameters(master, Execution(study.instances[0], 0, 1).parameters(""))
    sends_back = not shares_disk(executor)
    records_dir = "" if sends_back else str(out / "records")
    text, caller = master.read_text(encoding="utf-8"), kernels.this_process()
    common = (text, records_dir, stack.installed(), caller, study.declared_in, timeout)
    with only_writer(out, "out"):
        _sweep(out)
        set_strangers_aside(out)
        runs, missing, executions = _plan(study, out, threads, concurrency(executor), redo)
        write_atomically(out / "study.yaml", f"# {study.name}, as run with --threads {threads}\n{study.to_yaml()}")
        for key in runs:
            failure_path(out, key).unlink(missing_ok=True)
        with Progress(len(runs), study.name, done=len(runs) - len(missing)) as progress:
            dispatch = Dispatch(missing, out, executor, lambda execution: Job(execution, *common), retries, progress)
            try:
                failures = dispatch.finish(executions)
            finally:
                _sweep(out)  # what killed kernels left
    order = {key: place for place, key in enumerate(runs)}
    return sorted(failures, key=lambda failure: order[failure.key])


def plan_study(
    study: Study, out: Path | str, threads: int = 1, workers: int | None = None, redo: bool = False
) -> tuple[Runs, Runs, list[Execution]]:
    """Return what would be run; nothing is written.

    Args:
        study: The study.
        out: Its output folder; runs whose records are there are not run again.
        threads: Threads that an operation may use in a run.
        workers: Number of executions at once; None: as many as there are cores for.
        redo: Run also what is done.

    Returns:
        All runs, as ``{key: (instance, seed)}``; those that are to be run; the executions that would make them.

    Raises:
        RequestError: As ``run_study``.
    """
    threads = _check(study, Path(out), threads)
    return _plan(study, Path(out), threads, local_workers(workers, threads), redo)


def describe_plan(study: Study, out: Path, threads: int = 1, workers: int | None = None, redo: bool = False) -> str:
    """Return what would be run, as text: a line an execution, then the number of runs; nothing is written.

    Of a study that tunes settings, it is the runs by which they are chosen.

    Args:
        study: The study.
        out: As for ``plan_study``.
        threads: Likewise.
        workers: Likewise.
        redo: Likewise.

    Raises:
        RequestError: As ``run_study``.
    """
    lines = []
    if study.tune:
        study, out = tuning_study(study), out / TUNING
        lines.append("by these runs, each ordering's own settings are chosen, with which the study is then run:")
    runs, missing, executions = plan_study(study, out, threads, workers, redo)
    for execution in executions:
        condition = label(execution.instance.settings, study.varies)
        lines.append(f"{execution.name}: {execution.seeds} runs{', ' if condition else ''}{condition}")
    return "\n".join([*lines, f"{len(executions)} executions, {len(missing)} of {len(runs)} runs to do, into {out}"])


def _sweep(out: Path) -> None:
    """Remove what killed processes left in a study's folder, and where kernels have theirs, as none may start now."""
    for folder in (out, *(out / name for name in _FOLDERS), Path(tempfile.gettempdir())):
        sweep(folder)


def set_strangers_aside(out: Path) -> None:
    """Move what is no record out of a study's ``records/`` into ``set_aside/``, and name it.

    It may be truncated, edited, another run's or none of normlib's. Nothing is deleted.

    Args:
        out: The study's folder.

    Raises:
        RequestError: One was written by another version of normlib, which this one must not take for damaged.
    """
    strangers = {}
    for path in sorted((out / "records").glob("*.json")):
        try:
            record = read_record(path)
        except OtherVersionError as error:
            raise RequestError("out", str(out), f"a folder of this normlib's; records/{path.name} is {error}") from None
        except RecordError as error:
            strangers[path] = str(error)
        else:
            if path.stem != record.key:
                strangers[path] = f"it is the record of the run {record.key}"
    for path, reason in strangers.items():
        there = set_aside(path, out / "set_aside").relative_to(out)
        warnings.warn(f"set aside {path.relative_to(out)} of {out} as {there}: {reason}", stacklevel=3)


def _check(study: Study, out: Path, threads: int) -> int:
    """Refuse a folder that cannot be written, or whose records come from another stack or number of threads."""
    threads = thread_count(threads)
    for dataset in dict.fromkeys(instance.dataset for instance in study.instances):
        load_array(dataset, "y_test")  # that it is not there is told once, and not by each run
    check_inside(out, "out")
    for folder in (out, *(out / name for name in _FOLDERS)):
        check_writable(folder, "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is no record is named when it is set aside
        there = load_records(out) if out.is_dir() else None
    if there is None or there.empty:
        return threads
    stacks = [stack.describe(stack.versions(instance.provider)) for instance in study.instances]
    for name, here in (("threads", [str(threads)]), ("stack", list(dict.fromkeys(stacks)))):
        for other in sorted(set(there[name].map(str)) - set(here)):
            values = " and ".join(here)
            allowed = f"a folder whose records can be compared with the study's; there {name} is {other}, here {values}"
            raise RequestError("out", str(out), allowed)
    return threads


def _check_own_code(
    study: Study,
    out: Path,
    executor: concurrent.futures.Executor,
    threads: int,
    redo: bool,
    timeout: float | None,
) -> None:
    """Refuse a model of one's own that cannot be built, once and where its runs are made, before any kernel starts."""
    _, missing, _ = _plan(study, out, threads, 1, redo)
    own = list(dict.fromkeys(instance for instance, _ in missing.values() if instance.needs_own_code))
    if own and (refusal := executor.submit(find_refusal, own, timeout).result()) is not None:
        raise refusal


def _plan(study: Study, out: Path, threads: int, workers: int, redo: bool) -> tuple[Runs, Runs, list[Execution]]:
    runs = {run_key(i, seed, threads): (i, seed) for i in study.instances for seed in study.run_seeds}
    missing = {key: run for key, run in runs.items() if redo or read_run(out, key) is None}
    seeds: dict[Instance, list[int]] = {}
    for instance, seed in missing.values():
        seeds.setdefault(instance, []).append(seed)
    return runs, missing, plan(seeds, threads, workers)
