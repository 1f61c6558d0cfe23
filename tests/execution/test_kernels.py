"""Real kernels, and what the next execution finds of the one before."""

import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

import masters
import nbformat
import psutil
import pytest
from processes import listening, wait_until

from normlib.execution import kernels
from normlib.execution.notebook import ExecutionError, execute

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def printed(text):
    outputs = [output for cell in nbformat.reads(text, 4).cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


@pytest.fixture
def run(request):
    """Return a function that executes a notebook in a kernel that is kept, and returns what it printed."""
    caller = request.node.name
    yield lambda text, **how: printed(execute(text, caller=caller, keep=True, **how))
    kernels.end(caller)


PID = "import os; print(os.getpid())"


def test_a_kernel_is_handed_on_without_variables_or_figures_and_counts_cells_anew_until_something_fails(run):
    draws = "from matplotlib import pyplot; figure = pyplot.figure()"
    first = run(masters.of(PID, "left = 1", draws))
    looks = "print('left' in dir(), sys.modules['matplotlib.pyplot'].get_fignums(), len(In))"
    assert run(masters.of(PID, f"import sys; {looks}")) == f"{first}False [] 3\n"
    with pytest.raises(ExecutionError, match="ZeroDivisionError"):
        run(masters.of("1 / 0"))
    assert not psutil.pid_exists(int(first))
    assert run(masters.of(PID)) != first


def test_a_kept_kernel_that_nobody_takes_ends_itself(run, monkeypatch):
    monkeypatch.setattr(kernels, "_MOST_IDLE", 0.2)
    kept = int(run(masters.of(PID)))
    wait_until(lambda: not psutil.pid_exists(kept))


def test_a_kernel_has_the_variables_of_its_execution(run):
    shows = masters.of("import os; print(os.environ.get('OF_A_STUDY'))")
    assert [run(shows, variables={"OF_A_STUDY": name}) for name in ("one", "two")] == ["one\n", "two\n"]
    assert "OF_A_STUDY" not in os.environ


def test_a_kernel_is_given_up_after_some_runs_because_tensorflow_keeps_memory_of_each(run):
    pids = [run(masters.of(PID), runs=runs) for runs in (30, 20, 1, 49)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_one_callers_kernels_are_ended_at_once_and_none_is_started_for_it_any_more():
    """Those that work, and those that are kept; others' are left alone."""
    endless, sleeps = (NOTEBOOKS / "endless.ipynb").read_text(), masters.of("import time; time.sleep(2)")
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        mine, others = (
            executor.submit(execute, endless, caller="mine"),
            executor.submit(execute, sleeps, caller="others"),
        )
        wait_until(lambda: len(kernels._kernels) == 2)
        kept = int(printed(executor.submit(execute, masters.of(PID), caller="mine", keep=True).result()))
        kernels.end("mine")
        assert not psutil.pid_exists(kept)
        with pytest.raises(ExecutionError, match="the kernel died"):
            mine.result()
        assert others.result()
    with pytest.raises(ExecutionError, match="the study was ended"):
        execute(masters.of(PID), caller="mine")
    assert not kernels._kernels


def test_a_kernel_listens_on_loopback_only_and_ends_with_the_process_that_started_it():
    """Also where that was killed, so that it could end nothing itself."""
    starts = (
        "from normlib.execution.kernels import Kernel; print(Kernel({}).manager.provisioner.pid, flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", starts], **pipes) as process:
        kernel = psutil.Process(int(process.stdout.readline()))
        wait_until(lambda: listening(kernel))
        assert listening(kernel) == {"127.0.0.1"}
        process.kill()
    wait_until(lambda: not kernel.is_running())
