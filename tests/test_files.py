import os
import subprocess
import sys

import pytest

from normlib.errors import RequestError
from normlib.files import check_writable, only_writer, write_atomically


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
    with pytest.raises(RequestError, match=r"^out is .*; allowed: a folder that can be written, and here: \w"):
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
        refused = pytest.raises(RequestError, match=rf"^out is .*; allowed: .* writing; process {process.pid} is$")
        with refused, only_writer(tmp_path / "new", "out"):
            pass
        process.kill()
    with only_writer(tmp_path / "new", "out"):
        assert (tmp_path / "new" / ".writer").read_text() == str(os.getpid())
    assert not (tmp_path / "new" / ".writer").exists()
