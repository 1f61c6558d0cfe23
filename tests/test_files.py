import os
import subprocess
import sys
import tempfile

import pytest

from normlib.errors import RequestError
from normlib.files import check_writable, only_writer, scratch_folder, set_aside, write_atomically

# Locks a folder, holds a scratch folder, and is interrupted for ever while it writes a file.
STUCK = """
import os, sys, time
from pathlib import Path
from normlib import files
with files.only_writer(Path(sys.argv[1]), "out"), files.scratch_folder() as scratch:
    os.replace = lambda *_: (print(scratch, flush=True), time.sleep(600))
    files.write_atomically(Path(sys.argv[1]) / "records" / "record.json", "half")
"""


def test_text_and_bytes_are_written_for_all_to_read_and_missing_folders_made(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "±")
    assert (tmp_path / "a" / "b.txt").stat().st_mode & 0o444 == 0o444
    assert (tmp_path / "a" / "b.txt").read_bytes() == "±".encode()
    write_atomically(tmp_path / "c.bin", b"\x00")
    assert (tmp_path / "c.bin").read_bytes() == b"\x00"


def test_an_interruption_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named_whatever_is_wrong(tmp_path):
    """A name that is too long, a file in a folder's place; what the disk does is in test_faults.py."""
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / ("n" * 300), tmp_path / "file" / "record.json"):
        with pytest.raises(OSError, match=path.name) as error:
            write_atomically(path, "new")
        assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_what_a_killed_process_left_is_removed_and_a_running_one_keeps_its_folders(tmp_path, monkeypatch):
    """Half a file, a scratch folder and a lock, on which the running one's number is told."""
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    (out / "records").mkdir(parents=True)
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    mine = [out / ".hidden.tmp", out / "records" / "normlib-notes.tmp", scratch / "normlib-notes"]
    for path in mine:
        path.write_text("mine")

    def left():
        files = {path for path in tmp_path.rglob("*") if path.is_file()} - {out / ".lock", out / ".writer", *mine}
        return sorted(path.read_text() for path in files), len(list(scratch.iterdir()))

    with subprocess.Popen([sys.executable, "-c", STUCK, out], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith(str(scratch))
        refused = pytest.raises(RequestError, match=rf"^out is .*, but process {process.pid} is writing it$")
        with refused, only_writer(out, "out"):
            pass
        with scratch_folder():
            assert left() == (["half"], 3)
        process.kill()
    with only_writer(out, "out"), scratch_folder() as folder:
        assert (out / ".writer").read_text() == str(os.getpid())
        assert sorted(scratch.iterdir()) == sorted([folder, scratch / "normlib-notes"])
    assert left() == ([], 1)
    assert not (out / ".writer").exists()
    assert all(path.read_text() == "mine" for path in mine)


def test_what_is_set_aside_takes_no_other_files_place(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "record.json").write_text(content)
        set_aside(tmp_path / "record.json", tmp_path / "aside")
    there = {path.name: path.read_text() for path in (tmp_path / "aside").iterdir()}
    assert there == {"record.json": "one", "record_2.json": "two", "record_3.json": "three"}


@pytest.mark.parametrize("name", ["file", "file/below", "nowhere", "n" * 300, "/proc/new", "null\0byte"])
def test_a_folder_that_cannot_be_made_is_refused_others_pass_and_nothing_is_left(tmp_path, name):
    """A file, below a file, a link to nowhere, too long a name, a file system that takes none, no name at all."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    before = sorted(tmp_path.iterdir())
    for folder in (tmp_path, tmp_path / "new" / "below"):
        check_writable(folder, "out")
    with pytest.raises(RequestError, match=r"^out is .*, but it cannot be written: \w"):
        check_writable(tmp_path / name, "out")
    assert sorted(tmp_path.iterdir()) == before
