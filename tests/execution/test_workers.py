"""Where executions go, and what a worker does with one.

Dask's scheduler and workers are real programs in folders of their own, spoken to over TCP.
"""

import concurrent.futures
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import masters
import numpy as np
import pytest
from processes import dask_cluster, processes_in, wait_until

from conftest import SMALL
from normlib import stack
from normlib.errors import RequestError
from normlib.execution import workers as workers_module
from normlib.execution.notebook import Cause, Execution
from normlib.execution.schedule import run_study
from normlib.execution.workers import (
    concurrency,
    dask_executor,
    local_executor,
    local_workers,
    perform,
    shares_disk,
)
from normlib.models.instance import Instance
from normlib.runs.store import load_records, read_records, save_record
from normlib.studies.study import Study

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = Study("small", "Which?", ("gn/bn", "none"), seeds=1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers that can import the examples: address, and processes by each worker's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)]))
        with dask_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster.address, {folder: processes_in(folder) for folder in cluster.workers}


def figures(folder):
    return {record.key: (record.training, record.evaluation) for record in read_records(folder)}


def test_on_dask_a_study_gives_the_bits_that_it_gives_here_also_with_kinds_of_ones_own(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)]))
    study = Study("own", "Which?", ("my_norms:Centred",), seeds=3, defaults=SMALL)  # so that a worker keeps its kernel
    with dask_executor(cluster[0]) as executor:
        assert not shares_disk(executor)
        assert concurrency(executor) == 2
        assert run_study(study, tmp_path / "there", executor) == []
    with local_executor(2) as executor:
        assert run_study(study, tmp_path / "here", executor) == []
    assert figures(tmp_path / "there") == figures(tmp_path / "here")
    assert {folder: processes_in(folder) for folder in cluster[1]} == cluster[1]  # no kernel stays
    names = [sorted(path.name for path in (tmp_path / side / "notebooks").iterdir()) for side in ("there", "here")]
    assert names[0] == names[1]


def test_workers_with_another_stack_are_refused_by_name(cluster, monkeypatch):
    versions = stack.installed() | {"tensorflow": "1.0"}
    monkeypatch.setattr(stack, "version", versions.get)
    with pytest.raises(RequestError) as refusal, dask_executor(cluster[0]):
        pass
    problem = r"but its worker tcp://127.0.0.1:\d+ has another stack: tensorflow \S+, here 1.0$"
    assert re.search(problem, str(refusal.value))


def test_interrupted_on_dask_a_study_leaves_no_kernel_and_the_workers_take_the_next_one(cluster, tmp_path, monkeypatch):
    address, workers = cluster
    masters.use(monkeypatch, tmp_path, "import time; time.sleep(600)")
    command = masters.command(tmp_path, STUDY.replace(seeds=20), address)
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
    masters.use(monkeypatch, tmp_path)
    with dask_executor(address) as executor:
        assert run_study(STUDY, tmp_path / "next", executor) == []


def test_a_dask_worker_that_is_lost_takes_no_run_along(cluster, tmp_path, monkeypatch):
    """It is killed while its first execution runs; the scheduler gives that to the other one. It stays away."""
    address, (lost, kept) = cluster[0], cluster[1]
    masters.use(monkeypatch, tmp_path, "import time; time.sleep(2)")
    with dask_executor(address) as executor, concurrent.futures.ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_study, STUDY, tmp_path / "out", executor)
        wait_until(lambda: processes_in(lost) > cluster[1][lost])
        for process in cluster[1][lost]:
            os.kill(process, signal.SIGKILL)
        assert running.result() == []
    assert len(load_records(tmp_path / "out")) == 2
    assert not (tmp_path / "out" / "failures").exists()
    wait_until(lambda: not processes_in(lost))
    assert processes_in(kept) == cluster[1][kept]


def test_without_dask_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RequestError, match=r"pip install 'normlib\[dask\]'"), dask_executor("tcp://127.0.0.1:8786"):
        pass


def test_a_pool_of_processes_will_do_as_well(tmp_path, monkeypatch):
    masters.use(monkeypatch, tmp_path)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert shares_disk(executor)
        assert concurrency(executor) == 1
        assert run_study(STUDY, tmp_path / "out", executor) == []
    assert len(load_records(tmp_path / "out")) == 2


def test_there_are_as_many_workers_as_cores_allow_for_their_threads(monkeypatch):
    monkeypatch.setattr(stack, "cores", lambda: 8)
    assert [local_workers(None, threads) for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert local_workers(3, threads=16) == 3


EXECUTION = Execution(Instance("none"), 5, 2)


def test_what_was_finished_comes_back_with_the_reason_why_the_rest_was_not(tmp_path, monkeypatch):
    """The notebook fails behind its two seeds; worker and caller share no disk."""
    monkeypatch.chdir(tmp_path)
    notebook = masters.made_up(behind='raise OSError("out of luck")')
    outcome = perform(EXECUTION, notebook, stack.installed(), study_sha256="ab" * 32)
    assert (outcome.error.reason, outcome.error.cause) == ("OSError: out of luck", Cause.CODE)
    assert "raise OSError" in outcome.error.log
    assert {record.key for record in outcome.records} == set(EXECUTION.keys.values())
    assert {record.environment["study_sha256"] for record in outcome.records} == {"ab" * 32}
    assert 'records_dir = \\"../records\\"' in outcome.notebook
    assert list(tmp_path.iterdir()) == []


def test_data_of_ones_own_are_found_from_where_the_caller_is_and_no_path_of_theirs_is_kept(tmp_path, monkeypatch):
    """The file is given by a relative path; kernels have working directories of their own."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.random((40, 8, 9, 3)) for split in ("train", "test")}
    np.savez("mine.npz", **arrays, **dict.fromkeys(("y_train", "y_test"), np.arange(40) % 3))
    settings = {"dataset": "mine.npz", "fit_split": "train", "evaluate_split": "test"}
    execution = Execution(Instance("bn/gn", **settings), 5, 1)
    outcome = perform(execution, masters.made_up(), stack.installed())
    assert outcome.error is None
    (record,) = outcome.records
    assert record.key == execution.keys[5]
    assert record.instance["dataset"] == "mine.npz"
    assert 'dataset = \\"mine.npz\\"' in outcome.notebook
    assert str(tmp_path) not in outcome.notebook + record.to_json()


def test_what_was_finished_comes_back_also_where_the_worker_itself_fails(make_record, monkeypatch):
    finished = make_record("none", 5)

    def fills_the_disk(notebook, parameters, **_):
        save_record(finished, parameters["records_dir"])
        raise OSError("no space left on device")

    monkeypatch.setattr(workers_module, "execute", fills_the_disk)
    outcome = perform(EXECUTION, "", stack.installed())
    assert (outcome.records, outcome.error.reason) == ((finished,), "OSError: no space left on device")
    assert outcome.error.cause is Cause.MACHINE


def test_another_stack_than_the_callers_is_the_machines_fault_and_named():
    outcome = perform(EXECUTION, "", stack.installed() | {"tensorflow": "1.0"})
    assert outcome.error.cause is Cause.MACHINE
    assert f"has another stack: tensorflow {stack.version('tensorflow')}, here 1.0" in outcome.error.reason
    assert (outcome.records, outcome.notebook) == ((), "")
