"""Disks that fill up or become read-only, damaged files, two studies at once.

What is killed is in test_soak.py. Small disks are real ones, of memory, which only root may mount.
"""

import os
import re
import shutil
import subprocess
import sys

import masters
import pytest

from normlib.execution import summary
from normlib.execution.schedule import run_study
from normlib.execution.workers import local_executor
from normlib.files import write_atomically
from normlib.report.plots import plot_bars
from normlib.runs.record import run_key
from normlib.runs.store import load_records, read_records, save_record
from normlib.studies.folder import read_status
from normlib.studies.study import Study

STUDY = Study("small", "Which?", ("none",), seeds=2)
KEYS = [run_key(STUDY.instances[0], seed, threads=1) for seed in STUDY.run_seeds]
# What the notebook of the second seed does, once the first one's record and notebook are there.
WAITS = """
import glob, os, time
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


def run(out):
    with local_executor(2) as executor:
        return run_study(STUDY, out, executor)


@pytest.mark.parametrize("lost", [1, 0], ids=["when a record is written", "when a notebook is written"])
def test_on_a_full_disk_what_is_finished_stays_and_the_study_goes_on_later(disk, tmp_path, monkeypatch, lost):
    """The error names the notebook that could not be kept."""
    masters.use(monkeypatch, tmp_path, **{"before" if lost else "behind": WAITS + FILLS})
    out = disk / "out"
    with pytest.raises(OSError, match="No space left on device") as error:
        run(out)
    assert error.value.filename.startswith(f"{out}/notebooks/")
    assert error.value.filename.endswith("_seeds-1-1.ipynb")
    (disk / "ballast").unlink()
    masters.use(monkeypatch, tmp_path)
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


def test_in_a_folder_that_becomes_read_only_what_is_finished_stays_and_the_study_goes_on_later(tmp_path, monkeypatch):
    locked = "for name in ('records', 'notebooks', 'failures', '.'): os.chmod(records_dir + '/../' + name, 0o555)"
    masters.use(monkeypatch, tmp_path, f"{WAITS}    os.makedirs(records_dir + '/../failures')\n    {locked}")
    obeys = []
    if os.geteuid() == 0:  # whom permissions do not bind, unless it gives that up
        obeys = ["setpriv", "--bounding-set=-dac_override"]
        if shutil.which("setpriv") is None:
            pytest.skip("root needs setpriv to obey permissions")
    done = subprocess.run([*obeys, *masters.command(tmp_path, STUDY)], cwd=tmp_path, capture_output=True, text=True)
    out = tmp_path / "out"
    for folder in (out, *(path for path in out.iterdir() if path.is_dir())):
        folder.chmod(0o755)
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert re.match(r"normlib: PermissionError: \[Errno 13\] Permission denied", line)
    assert f"{out}/notebooks/" in line
    assert "Traceback" not in done.stderr
    masters.use(monkeypatch, tmp_path)
    check_that_it_goes_on(out, lost=1)


def test_on_a_disk_that_is_full_when_a_figure_is_written_the_figure_is_named_and_the_rest_stays(
    disk, make_record, monkeypatch
):
    """Two of one figure, beside a small page; of the figures the disk holds half."""
    for seed in range(2):
        save_record(make_record("none", seed, 0.4 + seed / 50), disk / "records")
    records = [path.read_bytes() for path in sorted((disk / "records").iterdir())]
    figure, _ = plot_bars(load_records(disk))
    monkeypatch.setattr(summary, "draw", lambda results: {"bars": figure, "gap": figure})
    monkeypatch.setattr(summary, "execute", lambda *_, **__: masters.of("1"))
    written = summary.write_summary(disk)
    pages = sum(path.stat().st_size for path in written if path.parent == disk)
    figures = sum(path.stat().st_size for path in written if path.parent != disk)
    for path in written:
        path.unlink()
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(free - pages - figures // 2))
    with pytest.raises(OSError, match="No space left on device") as error:
        summary.write_summary(disk)
    assert "/figures/" in error.value.filename
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
    tmp_path, make_record, made_here, monkeypatch
):
    """Truncated, empty, edited, another run's, and a note; the fifth run's record is whole, and counts."""
    masters.use(monkeypatch, tmp_path)
    out = tmp_path / "out"
    study = Study("small", "Which?", ("none",), seeds=5)
    paths = [save_record(make_record("none", seed, environment=made_here), out / "records") for seed in range(5)]
    whole = [path.read_bytes() for path in paths]
    damaged = {
        paths[0]: (whole[0][:-200], "no record of normlib's"),
        paths[1]: (b"", "no record of normlib's"),
        paths[2]: (whole[2].replace(b"0.88", b"0.99"), "the checksum does not match: edited or damaged"),
        paths[3]: (whole[4], f"it is the record of the run {paths[4].stem}"),
        out / "records" / "notes.json": (b'{"mine": true}', "no record of normlib's"),
    }
    for path, (content, _) in damaged.items():
        path.write_bytes(content)
    with local_executor(1) as executor, pytest.warns(UserWarning, match="set aside") as warned:
        assert run_study(study, out, executor) == []
    assert {str(warning.message) for warning in warned if "set aside" in str(warning.message)} == {
        f"set aside records/{path.name} of {out} as set_aside/{path.name}: {reason}"
        for path, (_, reason) in damaged.items()
    }
    for path, (content, _) in damaged.items():
        assert (out / "set_aside" / path.name).read_bytes() == content
    assert paths[4].read_bytes() == whole[4]
    assert load_records(out)["seed"].tolist() == [0, 1, 2, 3, 4]
    assert set(read_status(out)["state"]) == {"done"}


def test_of_two_studies_on_one_folder_at_once_one_is_refused_and_the_other_goes_on(tmp_path, monkeypatch):
    masters.use(monkeypatch, tmp_path, "import time; time.sleep(3)")
    pipes = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = masters.command(tmp_path, STUDY)
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        said = {process: process.communicate() for process in (first, second)}
    goes_on, refused = sorted((first, second), key=lambda process: process.returncode)
    assert (goes_on.returncode, refused.returncode) == (0, 2), said
    out, error = said[refused]
    assert out == ""
    assert re.fullmatch(f"normlib: out is '.*', but (process {goes_on.pid}|another process) is writing it\n", error)
    assert len(load_records(tmp_path / "out")) == 2
