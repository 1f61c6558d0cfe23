import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from normlib import files
from normlib.errors import RequestError
from normlib.files import ScratchFolder, check_writable, only_writer, read_text, set_aside, sweep, write_atomically

# Writes a file whose rename never ends, so that it can be killed meanwhile, and holds a scratch folder.
STUCK = """
import os, sys, time
from pathlib import Path
from normlib import files
scratch = files.ScratchFolder()
os.replace = lambda *_: (print(scratch.name, flush=True), time.sleep(600))
files.write_atomically(Path(sys.argv[1]) / "record.json", "half")
"""


def test_text_and_bytes_are_written_and_missing_folders_made(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "±")
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
        with pytest.raises(OSError, match=path.name) as told:
            write_atomically(path, "new")
        assert told.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.fixture
def stuck(tmp_path, monkeypatch):
    """A process that is writing into a folder and holds a scratch folder: the process, the two folders."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, tmp_path / "out"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith(str(tmp_path / "scratch"))
        yield process, tmp_path / "out", tmp_path / "scratch"
        process.kill()


def test_what_a_killed_process_left_is_swept_and_what_a_running_one_uses_is_not(stuck):
    process, out, scratch = stuck
    for name in ("record.json", ".hidden.tmp", "normlib-notes.tmp"):
        (out / name).write_text("mine")
    left = [path for path in out.iterdir() if path.read_text() == "half"]
    assert len(left) == 1
    sweep(out)
    ScratchFolder().cleanup()
    assert left[0].exists()
    assert len(list(scratch.iterdir())) == 1
    process.kill()
    process.wait()
    sweep(out)
    ScratchFolder().cleanup()
    assert sorted(path.name for path in out.iterdir()) == [".hidden.tmp", "normlib-notes.tmp", "record.json"]
    assert list(scratch.iterdir()) == []


def test_what_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """Another process may look between the two."""
    swept = []

    def lock(descriptor):
        if not swept:
            swept.extend(tmp_path.glob(".normlib-*"))
            swept[0].unlink()
        return True

    monkeypatch.setattr(files, "_lock", lock)
    write_atomically(tmp_path / "record.json", "whole")
    assert swept
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_links_are_not_followed_and_what_cannot_be_listed_is_no_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / ".normlib-1.tmp").symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    sweep(tmp_path / "mine" / "file")
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_only_files_of_a_usual_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # to read it would never end
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)  # bytes, none of which takes any space
    (tmp_path / "text").write_text("±", encoding="utf-8")
    assert read_text(tmp_path / "text") == "±"
    for name, reason in {"pipe": "Not a regular file", "large": "Too large for what it should be"}.items():
        with pytest.raises(OSError, match=reason):
            read_text(tmp_path / name)


def test_what_is_set_aside_takes_no_other_files_place(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "record.json").write_text(content)
        set_aside(tmp_path / "record.json", tmp_path / "aside")
    there = {path.name: path.read_text() for path in (tmp_path / "aside").iterdir()}
    assert there == {"record.json": "one", "record_2.json": "two", "record_3.json": "three"}


def test_results_can_be_read_by_others(tmp_path):
    write_atomically(tmp_path / "record.json", "")
    assert (tmp_path / "record.json").stat().st_mode & 0o444 == 0o444


def test_a_folder_that_can_be_written_passes_and_nothing_is_left(tmp_path):
    for folder in (tmp_path, tmp_path / "new", tmp_path / "new" / "below"):
        check_writable(folder, "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "nowhere", "n" * 300, "/proc/new", "null\0byte"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, name):
    """A file, below a file, a link to nowhere, too long a name, a file system that takes none, no name at all."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RequestError, match=r"^out is .*, but must be a folder that can be written, and here: \w"):
        check_writable(tmp_path / name, "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_second_process_is_refused_with_the_first_ones_id_until_that_has_ended(tmp_path):
    """Also where it was killed, so that it could not give the folder back."""
    holds = (
        "import sys; from pathlib import Path; from normlib.files import only_writer\n"
        "with only_writer(Path(sys.argv[1]), 'out'): print('held', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", holds, tmp_path / "new"], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        refused = pytest.raises(RequestError, match=rf"^out is .*, but must be .* writing; process {process.pid} is$")
        with refused, only_writer(tmp_path / "new", "out"):
            pass
        process.kill()
    with only_writer(tmp_path / "new", "out"):
        assert (tmp_path / "new" / ".writer").read_text() == str(os.getpid())
    assert not (tmp_path / "new" / ".writer").exists()


@pytest.mark.parametrize("swept_before", ["it is opened", "it is locked"])
def test_a_scratch_folder_that_another_process_sweeps_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch, swept_before
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken = []

    def take(*arguments, original=os.open if swept_before == "it is opened" else files._lock):
        if not taken:
            (folder,) = tmp_path.iterdir()
            taken.append(folder)
            folder.rmdir()
        return original(*arguments)

    if swept_before == "it is opened":
        monkeypatch.setattr(files.os, "open", take)
    else:
        monkeypatch.setattr(files, "_lock", take)
    with files.ScratchFolder() as scratch:
        monkeypatch.undo()
        assert Path(scratch).is_dir()
        assert Path(scratch) != taken[0]
        files.sweep(tmp_path)
        assert Path(scratch).is_dir()
    assert list(tmp_path.iterdir()) == []
