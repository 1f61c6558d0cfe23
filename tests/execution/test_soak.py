"""What is killed at any moment loses nothing, and many executions leave nothing behind.

A few trials of each in ``make test-all``; ``make soak`` makes a hundred and a thousand.
"""

import concurrent.futures
import gc
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import masters
import psutil
import pytest
from processes import dask_cluster, kernels_in, processes_in, wait_until

from normlib.execution import kernels
from normlib.execution.notebook import execute
from normlib.runs.store import read_records
from normlib.studies.study import Study

pytestmark = pytest.mark.long
SOUND = (Path(__file__).parents[1] / "notebooks" / "sound.ipynb").read_text("utf-8")
STUDY = Study("small", "Which?", ("gn/bn", "none"), seeds=2)


def start(folder, *address):
    """Start a study in a folder, with a folder for temporary files of its own."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "master.ipynb").write_text(masters.made_up("import time; time.sleep(1)", "time.sleep(1)"))
    environment = os.environ | {"TMPDIR": str(folder / "tmp")}
    with (folder / "log").open("a") as log:
        command = masters.command(folder, STUDY, *address)
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def results(folder):
    """Return what every run of a study gave, by its file."""
    return {
        f"{record.key}.json": (record.seed, record.instance, record.training, record.curve, record.evaluation)
        for record in read_records(folder / "out" / "records")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed study gives, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    assert start(folder).wait() == 0, (folder / "log").read_text()
    return results(folder), time.monotonic() - started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def test_what_is_killed_at_any_moment_loses_nothing(trial, undisturbed, cluster, tmp_path):
    """The study's own process, one of its kernels or a Dask worker, here or on the cluster, after a random time."""
    expected, seconds = undisturbed
    chance = random.Random(trial)
    victim = ("driver", "kernel", "worker")[trial % 3]
    there = victim == "worker" or chance.random() < 0.5
    address = [cluster.address] if there else []
    places = cluster.workers if there else [tmp_path]
    study = start(tmp_path, *address)
    moment = chance.uniform(0, 0.8 * seconds)
    time.sleep(moment)
    if victim == "kernel":
        wait_until(lambda: study.poll() is not None or any(map(kernels_in, places)))
    candidates = {
        "driver": lambda: [study.pid],
        "kernel": lambda: sorted(pid for place in places for pid in kernels_in(place)),
        "worker": lambda: sorted(pid for place in places for pid in processes_in(place) if is_worker(pid)),
    }[victim]()
    running = study.poll() is None
    for pid in [chance.choice(candidates)] if candidates else []:
        os.kill(pid, signal.SIGKILL)
    print(f"{victim} killed {'on the cluster' if there else 'here'}, {moment:.1f} s of {seconds:.1f}, {running=}")
    assert candidates or not running
    code = study.wait()
    assert code in ((0, -signal.SIGKILL) if victim == "driver" else (0,)), (tmp_path / "log").read_text()
    # Kernels end by themselves: without their parent at once, on a cluster with their execution.
    wait_until(lambda: not processes_in(tmp_path) and not any(map(kernels_in, places)))
    if victim != "driver":  # it has put all in order itself
        check(tmp_path, expected)

    assert start(tmp_path, *address).wait() == 0, (tmp_path / "log").read_text()
    check(tmp_path, expected)
    wait_until(lambda: not any(temporary(place / "tmp") for place in cluster.workers))
    wait_until(lambda: not processes_in(tmp_path) and not any(map(kernels_in, places)))


def check(folder, expected):
    """See that every record is there once, whole and with the same bits, and that nothing else stays."""
    assert results(folder) == expected
    assert sorted(path.name for path in (folder / "out" / "records").iterdir()) == sorted(expected)
    assert not temporary(folder / "out")
    assert not (folder / "out" / "set_aside").exists()
    assert not list((folder / "out").glob("failures/*"))
    assert list((folder / "tmp").iterdir()) == []


def temporary(folder):
    """Return what is in a folder for the time being."""
    return [path for path in folder.rglob("*") if "normlib-" in path.name]


def is_worker(pid):
    """Return whether a process is the one in which a Dask worker's tasks run, which its nanny spawned."""
    try:
        return "spawn_main" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def test_many_executions_leave_no_file_socket_thread_process_or_memory(pytestconfig):
    """Most in a kernel that is handed on, every tenth in one of its own; none with TensorFlow."""
    executions = pytestconfig.getoption("--executions")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:

        def run(count):
            for number in range(count):
                executor.submit(execute, SOUND, caller="soak", keep=True).result()
                if number % 10 == 0:
                    execute(SOUND)

        run(11)
        before = state()
        run(executions)
        after = state()
    kernels.end("soak")
    print(f"before {before}, after {after}")
    for name in ("files", "sockets", "threads", "processes"):
        assert after[name] <= before[name], (name, before, after)
    # Python's and its libraries' caches may grow a little; a leak of 50 kB an execution shows.
    assert after["memory"] - before["memory"] < 30 + 0.05 * executions, (before, after)


def state():
    """Return what this process and its kernels hold: files, sockets and threads of this one, memory (MB) of all."""
    gc.collect()
    process = psutil.Process()
    family = [process, *process.children(recursive=True)]
    return {
        "files": process.num_fds(),
        "sockets": len(process.net_connections("all")),
        "threads": process.num_threads(),
        "processes": len(family),
        "memory": sum(each.memory_info().rss for each in family) / 2**20,
    }
