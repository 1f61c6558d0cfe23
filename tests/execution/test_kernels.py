"""Real kernels, and what a worker's next execution finds of the one before."""

import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from processes import alive, wait_until

from normlib.execution import kernels
from normlib.execution.kernels import Kernels
from normlib.execution.notebook import ExecutionError, execute

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


def printed(text):
    outputs = [output for cell in nbformat.reads(text, 4).cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


@pytest.fixture
def worker():
    """One worker with warm kernels."""
    warm = Kernels(warm=True)
    with concurrent.futures.ThreadPoolExecutor(1, "", kernels.work_with, (warm,)) as executor:
        yield executor
    warm.close()


PID = "import os; print(os.getpid())"


def test_a_worker_hands_its_kernel_on_without_variables_or_figures_and_counts_cells_anew(worker):
    draws = "from matplotlib import pyplot; figure = pyplot.figure()"
    first = worker.submit(execute, notebook(PID, "left = 1", draws)).result()
    looks = "print('left' in dir(), sys.modules['matplotlib.pyplot'].get_fignums())"
    second = worker.submit(execute, notebook(PID, f"import sys; {looks}")).result()
    assert printed(second) == f"{printed(first)}False []\n"
    assert [cell.execution_count for cell in nbformat.reads(second, 4).cells] == [1, 2]


def test_a_kernel_in_which_something_failed_is_not_handed_on(worker):
    first = printed(worker.submit(execute, notebook(PID)).result())
    with pytest.raises(ExecutionError, match="ZeroDivisionError"):
        worker.submit(execute, notebook("1 / 0")).result()
    second = printed(worker.submit(execute, notebook(PID)).result())
    assert first != second
    assert not alive(int(first))


def test_a_kernel_has_the_variables_of_its_execution(worker):
    shows = notebook("import os; print(os.environ.get('OF_A_STUDY'))")
    found = [worker.submit(execute, shows, variables={"OF_A_STUDY": name}).result() for name in ("one", "two")]
    assert [printed(text) for text in found] == ["one\n", "two\n"]
    assert "OF_A_STUDY" not in os.environ


def test_a_kernel_is_given_up_after_some_runs_because_tensorflow_keeps_memory_of_each(worker):
    pids = [printed(worker.submit(execute, notebook(PID), runs=runs).result()) for runs in (30, 20, 1, 49)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_only_the_kernels_of_one_caller_are_killed_and_it_may_start_others():
    here = Kernels()
    with concurrent.futures.ThreadPoolExecutor(2, "", kernels.work_with, (here,)) as executor:
        sleeps = notebook("import time; time.sleep(3)")
        mine, others = (
            executor.submit(execute, sleeps, variables={kernels.CALLER_VARIABLE: name}) for name in ("me", "you")
        )
        wait_until(lambda: len(here._running) == 2)
        here.kill("me")
        with pytest.raises(ExecutionError, match="the kernel died"):
            mine.result()
        assert others.result()
        assert executor.submit(execute, notebook(PID), variables={kernels.CALLER_VARIABLE: "me"}).result()


def test_executions_leave_no_thread_and_no_socket_open(worker):
    def left():
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    def run():
        worker.submit(execute, notebook(PID)).result()  # the kernel is handed on
        execute(notebook(PID))  # the kernel ends with its execution

    run()
    threads, files = left()
    for _ in range(3):
        run()
    assert left()[0] <= threads
    assert left()[1] <= files


def test_ending_stops_what_works_at_once_and_nothing_starts_after_it():
    warm = Kernels(warm=True)
    with concurrent.futures.ThreadPoolExecutor(1, "", kernels.work_with, (warm,)) as executor:
        future = executor.submit(execute, (NOTEBOOKS / "endless.ipynb").read_text())
        wait_until(lambda: warm._running)
        pids = [kernel.manager.provisioner.pid for kernel in warm._running]
        warm.end()
        with pytest.raises(ExecutionError, match="the kernel died"):
            future.result()
        with pytest.raises(ExecutionError, match="the study was ended"):
            executor.submit(execute, notebook(PID)).result()
    warm.close()
    assert not any(alive(pid) for pid in pids)


def test_kernels_end_with_the_process_that_started_them(tmp_path):
    """Also where it was killed, so that it could end nothing itself."""
    starts = (
        "from normlib.execution.kernels import Kernel; print(Kernel({}).manager.provisioner.pid, flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", starts], **pipes) as process:
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    wait_until(lambda: not alive(pid))
