"""Disks that fill up or become read-only, damaged files, two studies at once, clocks and losses that go wrong.

What is killed is in test_soak.py. Small disks are real ones, of memory, which only root may mount.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time

import nbformat
import pytest

from conftest import SMALL
from normlib.execution import notebook as notebook_module
from normlib.execution import schedule, summary
from normlib.execution.schedule import run_study
from normlib.execution.workers import local_executor
from normlib.files import write_atomically
from normlib.runs.record import run_key
from normlib.runs.store import load_records, read_records, save_record
from normlib.studies.folder import read_status
from normlib.studies.study import Study

STUDY = Study("small", "Which?", ("none",), seeds=2, defaults=SMALL)
KEYS = [run_key(STUDY.instances[0], seed, threads=1) for seed in STUDY.run_seeds]
# What the notebook of the second seed does, once the first one's record and notebook are there.
WAITS = """
import glob, os, subprocess, time
if first_seed == 1:
    while not glob.glob(records_dir + "/../notebooks/*_seeds-0-0.ipynb"):
        time.sleep(0.05)
"""
FILLS = """
    with open(records_dir + "/../../ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"only root can mount a small disk: {mounted.stderr}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def put_into_master(tmp_path, monkeypatch):
    """Return a function that puts a cell into the master notebook: before it trains, or at its end."""

    def put(source, at_the_end=False):
        notebook = nbformat.read(notebook_module.notebook_path("instance"), as_version=4)
        (trains,) = (i for i, cell in enumerate(notebook.cells) if "train_all" in cell.source)
        place = len(notebook.cells) if at_the_end else trains
        notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
        nbformat.write(notebook, tmp_path / "master.ipynb")
        monkeypatch.setattr(schedule, "notebook_path", lambda name: tmp_path / "master.ipynb")

    return put


def run(out):
    with local_executor(2) as executor:
        return run_study(STUDY, out, executor)


@pytest.mark.parametrize(
    ("at_the_end", "lost"), [(False, 1), (True, 0)], ids=["when a record is written", "when a notebook is written"]
)
def test_on_a_full_disk_what_is_finished_stays_and_the_study_goes_on_later(
    disk, put_into_master, monkeypatch, at_the_end, lost
):
    """The error names the notebook that could not be kept and, where it is lost, the record."""
    put_into_master(WAITS + FILLS, at_the_end)
    out = disk / "out"
    with pytest.raises(OSError, match="No space left on device") as told:
        run(out)
    assert told.value.filename.startswith(f"{out}/notebooks/")
    assert told.value.filename.endswith("_seeds-1-1.ipynb")
    assert (f"/records/{KEYS[1]}.json" in str(told.value)) == bool(lost)
    monkeypatch.undo()
    (disk / "ballast").unlink()
    check_that_it_goes_on(out, lost)


def check_that_it_goes_on(out, lost):
    """See that the first seed's record is whole, and that the study then makes what is missing, and only that."""
    there = {path.name: path.read_bytes() for path in (out / "records").glob("*.json")}
    assert f"{KEYS[0]}.json" in there
    assert len(read_records(out / "records")) == len(there) == 2 - lost
    assert run(out) == []
    assert load_records(out)["seed"].tolist() == [0, 1]
    for name, content in there.items():
        assert (out / "records" / name).read_bytes() == content
    assert not [path for path in out.rglob("*") if path.suffix == ".tmp"]


DRIVER = """
import sys
from pathlib import Path
from normlib import cli
from normlib.execution import schedule, workers
from normlib.studies.study import read_study
schedule.notebook_path = lambda name: Path("master.ipynb")
def study():
    with workers.local_executor(2) as executor:
        schedule.run_study(read_study("small.yaml"), "out", executor)
cli.run(lambda **_: study())
"""


def test_in_a_folder_that_becomes_read_only_what_is_finished_stays_and_the_study_goes_on_later(
    tmp_path, put_into_master, monkeypatch
):
    locked = "for name in ('records', 'notebooks', 'failures', '.'): os.chmod(records_dir + '/../' + name, 0o555)"
    put_into_master(f"{WAITS}    os.makedirs(records_dir + '/../failures')\n    {locked}")
    (tmp_path / "small.yaml").write_text(STUDY.to_yaml())
    obeys = []
    if os.geteuid() == 0:  # whom permissions do not bind, unless it gives that up
        obeys = ["setpriv", "--bounding-set=-dac_override"]
        if shutil.which("setpriv") is None:
            pytest.skip("root needs setpriv to obey permissions")
    done = subprocess.run([*obeys, sys.executable, "-c", DRIVER], cwd=tmp_path, capture_output=True, text=True)
    out = tmp_path / "out"
    for folder in (out, *(path for path in out.iterdir() if path.is_dir())):
        folder.chmod(0o755)
    assert done.returncode == 1
    *_, told = done.stderr.splitlines()
    first, then = told.split("; before that, ")
    assert first == "normlib: PermissionError: [Errno 13] Permission denied"
    assert re.match(rf"RequestError: records_dir is .*, but must be .*: Permission denied: '{out}/notebooks/.*'", then)
    assert "Traceback" not in done.stderr
    monkeypatch.undo()
    check_that_it_goes_on(out, lost=1)


def test_on_a_disk_that_is_full_when_a_figure_is_written_the_figure_is_named_and_the_rest_stays(disk, make_record):
    for ordering in ("bn", "none"):
        for seed in range(3):
            save_record(make_record(ordering, seed, 0.4 + seed / 50), disk / "records")
    records = [path.read_bytes() for path in sorted((disk / "records").iterdir())]
    written = summary.write_summary(disk)
    pages = sum(path.stat().st_size for path in written if path.parent == disk)
    figures = sum(path.stat().st_size for path in written if path.parent != disk)
    for path in written:
        path.unlink()
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(free - pages - figures // 2))
    with pytest.raises(OSError, match="No space left on device") as told:
        summary.write_summary(disk)
    assert "/figures/" in told.value.filename
    assert [path.read_bytes() for path in sorted((disk / "records").iterdir())] == records
    (disk / "ballast").unlink()
    assert all(path.is_file() for path in summary.write_summary(disk))


def test_a_file_that_may_not_grow_further_is_named_and_the_old_one_stays_whole(tmp_path):
    """With a limit of the operating system's, which needs no root."""
    write_atomically(tmp_path / "record.json", "old")
    code = (
        "import resource, sys; from pathlib import Path; from normlib.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomically(Path(sys.argv[1]), 'new' * 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "record.json"], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{tmp_path / 'record.json'}'"
    assert (tmp_path / "record.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_and_foreign_files_among_the_records_are_named_and_set_aside_and_their_runs_done_again(
    tmp_path, make_record, made_here
):
    """Truncated, empty, edited, another run's, and a note; the sixth run's record is whole, and counts."""
    study = Study("small", "Which?", ("none",), seeds=5, defaults=SMALL)
    paths = [
        save_record(make_record("none", seed, environment=made_here, **SMALL), tmp_path / "records")
        for seed in range(5)
    ]
    whole = [path.read_bytes() for path in paths]
    damaged = {
        paths[0]: whole[0][:-200],
        paths[1]: b"",
        paths[2]: whole[2].replace(b"0.88", b"0.99"),
        paths[3]: whole[4],
        tmp_path / "records" / "notes.json": b'{"mine": true}',
    }
    for path, content in damaged.items():
        path.write_bytes(content)
    reasons = {
        paths[0]: "no record of normlib's",
        paths[1]: "no record of normlib's",
        paths[2]: "the checksum does not match: edited or damaged",
        paths[3]: f"it is the record of the run {paths[4].stem}",
        tmp_path / "records" / "notes.json": "no record of normlib's",
    }
    with local_executor(2) as executor, pytest.warns(UserWarning, match="set aside") as told:
        assert run_study(study, tmp_path, executor) == []
    said = {str(warning.message) for warning in told if "set aside" in str(warning.message)}
    assert said == {
        f"set aside records/{path.name} of {tmp_path} as set_aside/{path.name}: {reason}"
        for path, reason in reasons.items()
    }
    for path, content in damaged.items():
        assert (tmp_path / "set_aside" / path.name).read_bytes() == content
    assert paths[4].read_bytes() == whole[4]
    assert load_records(tmp_path)["seed"].tolist() == [0, 1, 2, 3, 4]
    assert set(read_status(tmp_path)["state"]) == {"done"}


def test_of_two_studies_on_one_folder_at_once_one_is_refused_and_the_other_goes_on(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"question: Which?\norderings: [none]\nseeds: 1\ndefaults: {json.dumps(SMALL)}\n"
    )
    command = [sys.executable, "-m", "normlib", "study", "mine.yaml"]
    pipes = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        told = {process: process.communicate() for process in (first, second)}
    goes_on, refused = sorted((first, second), key=lambda process: process.returncode)
    assert (goes_on.returncode, refused.returncode) == (0, 2), told
    out, error = told[refused]
    assert out == ""
    assert error.count("\n") == 1
    assert f"must be a folder that no other process is writing; process {goes_on.pid} is" in error
    assert len(load_records(tmp_path / "outputs" / "mine")) == 1


def test_a_clock_that_jumps_back_changes_nothing(tmp_path, monkeypatch, put_into_master, make_record, made_here):
    """By a year, here and in the kernel, at every look; and a record that is there is from the future."""
    there = save_record(make_record("none", 0, environment=made_here, **SMALL), tmp_path / "out" / "records")
    os.utime(there, (2**32, 2**32))
    back = "import itertools, time\nlooks, now = itertools.count(), time.time\n"
    put_into_master(f"{back}time.time = lambda: now() - 3e7 * next(looks)")
    namespace = {}
    exec(back, namespace)
    monkeypatch.setattr(time, "time", lambda: namespace["now"]() - 3e7 * next(namespace["looks"]))
    assert run(tmp_path / "out") == []
    assert load_records(tmp_path / "out")["seed"].tolist() == [0, 1]
    assert there.stat().st_mtime == 2**32
    seconds = read_records(tmp_path / "out")[1].seconds
    assert all(0 <= value < 600 for value in seconds.values())


def test_a_run_that_diverges_is_a_result_which_stays_and_is_summarized(tmp_path):
    study = Study("small", "Which?", ("none", "bn"), seeds=2, defaults=SMALL | {"learning_rate": 3e38})
    with local_executor(2) as executor:
        assert run_study(study, tmp_path, executor) == []
        written = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}
        assert run_study(study, tmp_path, executor) == []
    assert {path: path.read_bytes() for path in (tmp_path / "records").iterdir()} == written
    bodies = [json.loads(content, parse_constant=pytest.fail) for content in written.values()]
    assert any(body["training"]["loss"][0] in ("NaN", "Infinity") for body in bodies)
    losses = load_records(tmp_path)["train_loss"]
    assert not all(map(math.isfinite, losses))
    summary.write_summary(tmp_path)
    assert "Diverged, 4 runs" in (tmp_path / "summary.html").read_text("utf-8")
