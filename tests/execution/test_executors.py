"""Where executions go. Dask's scheduler and workers are real programs in folders of their own, spoken to over TCP."""

import concurrent.futures
import multiprocessing
import os
import re
import signal
import subprocess
import sys

import pytest
from processes import dask_cluster, processes_in, wait_until

from conftest import SMALL
from normlib import stack
from normlib.errors import RequestError
from normlib.execution import workers as workers_module
from normlib.execution.schedule import run_study
from normlib.execution.workers import concurrency, dask_executor, local_executor, local_workers, shares_disk
from normlib.runs.store import read_records
from normlib.studies.study import Study


@pytest.fixture
def study():
    return Study("small", "Which?", ("gn/bn", "none"), seeds=1, defaults=SMALL)


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers: the address, and the processes of each worker and its nanny, by folder."""
    with dask_cluster(tmp_path) as cluster:
        yield cluster.address, {folder: processes_in(folder) for folder in cluster.workers}


def figures(folder):
    return {record.key: (record.training, record.evaluation) for record in read_records(folder)}


def test_on_dask_a_study_gives_what_it_gives_here_also_when_a_worker_is_lost(cluster, study, tmp_path):
    """The worker is killed while its first execution runs; the scheduler gives that to the other one."""
    address, workers = cluster
    lost, kept = workers
    with dask_executor(address) as executor, concurrent.futures.ThreadPoolExecutor(1) as thread:
        assert not shares_disk(executor)
        running = thread.submit(run_study, study, tmp_path / "there", executor)
        wait_until(lambda: processes_in(lost) > workers[lost])
        for process in workers[lost]:
            os.kill(process, signal.SIGKILL)
        assert running.result() == []
    with local_executor(2) as executor:
        run_study(study, tmp_path / "here", executor)
    assert figures(tmp_path / "there") == figures(tmp_path / "here")
    names = [sorted(path.name for path in (tmp_path / side / "notebooks").iterdir()) for side in ("there", "here")]
    assert names[0] == names[1]
    assert not (tmp_path / "there" / "failures").exists()
    wait_until(lambda: not processes_in(lost))
    assert processes_in(kept) == workers[kept]


def test_interrupted_on_dask_a_study_leaves_no_kernel_and_the_workers_take_the_next_one(cluster, tmp_path):
    address, workers = cluster
    (tmp_path / "mine.yaml").write_text(
        "question: Which?\norderings: [none]\ndefaults: {fit_split: 'test[:320]', evaluate_split: 'train[:200]'}\n"
    )
    command = [sys.executable, "-m", "normlib", "study", "mine.yaml", "--seeds", "200", "--scheduler", address]
    pipes = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True}
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen(command, **pipes, **default) as process:
        wait_until(
            lambda: process.poll() is not None or all(processes_in(folder) > workers[folder] for folder in workers)
        )
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == "interrupted: what is finished is kept; the same command goes on"
    wait_until(lambda: all(processes_in(folder) == workers[folder] for folder in workers))
    command[command.index("200")] = "1"
    subprocess.run([*command, "--redo", "--retries", "0"], cwd=tmp_path, check=True, timeout=120)


def test_workers_with_another_stack_are_refused_by_name(cluster, monkeypatch):
    there = f"tensorflow {stack.version('tensorflow')}, here 1.0"
    versions = stack.installed() | {"tensorflow": "1.0"}
    monkeypatch.setattr(stack, "version", versions.get)
    allowed = rf"scheduler is .*, but must be a cluster with the caller's stack; its worker tcp://127.0.0.1:\d+: {there}"
    with pytest.raises(RequestError, match=f"^{allowed}$"), dask_executor(cluster[0]):
        pass


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:9", "tcp://no-such-host:8786", "carrier://pigeon"])
def test_an_address_where_no_scheduler_answers_is_refused(address):
    allowed = "must be the address of a running Dask scheduler; none answered within 5 seconds"
    with (
        pytest.raises(RequestError, match=f"^scheduler is {re.escape(repr(address))}; {allowed}"),
        dask_executor(address),
    ):
        pass


def test_without_dask_its_package_is_named(monkeypatch):
    monkeypatch.setattr(workers_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'normlib\[dask\]'"), dask_executor("tcp://127.0.0.1:8786"):
        pass


def test_a_pool_of_processes_will_do_as_well(study, tmp_path):
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawned) as executor:
        assert shares_disk(executor)
        assert concurrency(executor) == 1
        assert run_study(study.but(orderings=["none"]), tmp_path, executor) == []
    assert len(figures(tmp_path)) == 1


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_less_than_one_worker_is_refused(workers):
    wrong = pytest.raises(RequestError, match=f"workers is {workers}, but must be a whole number from 1 up")
    with wrong, local_executor(workers):
        pass


def test_there_are_as_many_workers_as_cores_allow_for_their_threads(monkeypatch):
    monkeypatch.setattr(stack, "cores", lambda: 8)
    assert [local_workers(None, threads) for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert local_workers(3, threads=16) == 3
