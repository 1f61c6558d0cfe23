"""What tests of several processes share: waiting, looking for processes, a Dask cluster of separate programs."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from normlib.execution.workers import concurrency, dask_executor


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listening(process):
    """Return the addresses at which a process and all that it started take connections."""
    return {
        connection.laddr.ip
        for each in [process, *process.children(recursive=True)]
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def processes_in(folder):
    """Return the processes that run in a folder, as a study's, a worker's and their kernels do."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.add(process.pid)
    return found


def kernels_in(folder):
    """Return those of the processes in a folder that are Jupyter kernels."""
    found = set()
    for pid in processes_in(folder):
        with contextlib.suppress(psutil.Error):
            if "ipykernel_launcher" in psutil.Process(pid).cmdline():
                found.add(pid)
    return found


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A running Dask cluster: its address, and the folders in which its two workers run."""

    address: str
    workers: tuple[Path, Path]


@contextlib.contextmanager
def dask_cluster(folder):
    """Start a scheduler and two workers, each with its nanny, in folders of their own, on loopback."""
    told = folder / "scheduler" / "told.json"
    loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", told]
    programs = {"scheduler": ["--port", "0"], "first": ["--nthreads", "1"], "second": ["--nthreads", "1"]}
    with contextlib.ExitStack() as started:
        for name, options in programs.items():
            (folder / name / "tmp").mkdir(parents=True)
            log = started.enter_context((folder / name).with_suffix(".log").open("w"))
            command = [sys.executable, "-m", "dask", "scheduler" if name == "scheduler" else "worker"]
            environment = os.environ | {"TMPDIR": str(folder / name / "tmp")}
            outputs = {"stdout": log, "stderr": log}
            process = subprocess.Popen([*command, *loopback, *options], cwd=folder / name, env=environment, **outputs)
            started.callback(process.wait)
            started.callback(process.terminate)
            wait_until(told.is_file)
        address = json.loads(told.read_text())["address"]
        with dask_executor(address) as executor:
            wait_until(lambda: concurrency(executor) == 2)
        yield Cluster(address, (folder / "first", folder / "second"))
