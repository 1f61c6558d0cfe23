import os

import pytest

from normlib.files import write_atomically


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
