import os

import pytest

from normlib.errors import RequestError
from normlib.files import check_writable, write_atomically


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
