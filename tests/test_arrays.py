import io
import zipfile

import numpy as np
import pytest

from normlib import data
from normlib.data import ArrayError, read_array


def write(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content)
    return path


def header(shape, dtype="|u1"):
    """Return how NumPy begins the file of such an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["uint8", "int64", ">f4", "float64"])
def test_what_numpy_saved_is_read_as_it_was(tmp_path, save, dtype):
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(dtype)
    save(tmp_path / "a.npz", x_train=array, empty=array[:0])
    again = read_array(tmp_path / "a.npz", "x_train")
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype
    assert read_array(tmp_path / "a.npz", "empty").shape == (0, 5, 3)


def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_it_is_unpacked(tmp_path):
    path = write(tmp_path / "a.npz", "x", header((10**6, 10**9)) + b"\0" * 100)
    with pytest.raises(ArrayError, match="x claims 1,000,000,000,000,000 bytes, and the file holds 100"):
        read_array(path, "x")


def test_an_array_that_the_machine_has_no_room_for_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A hundred megabytes of zeros, which take a hundred kilobytes in the file."""
    path = write(tmp_path / "a.npz", "x", header((10**8,)) + b"\0" * 10**8)
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(np, "load", None)  # what unpacks
    free = type("Memory", (), {"available": 10**8 - 1})
    monkeypatch.setattr(data.psutil, "virtual_memory", lambda: free)
    with pytest.raises(ArrayError, match="x claims 100,000,000 bytes, and the machine has 99,999,999 free"):
        read_array(path, "x")


def test_pickled_objects_are_refused_and_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    np.savez(tmp_path / "a.npz", x=np.array([Evil()], dtype=object))
    with pytest.raises(ArrayError, match="x holds Python objects"):
        read_array(tmp_path / "a.npz", "x")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is no array|x cannot be read"),
        (b"not numpy's", "x is no array"),
        (b"\x93NUMPY\x09\x00", r"version \(9, 0\) of NumPy's format; known are 1.0 and 2.0"),
        (header((3,))[:-20], "x is no array"),
        (header((3,)).replace(b"(3,)", b"3+++"), "x is no array"),
        (header((-3,)), "x claims -3 bytes"),
        (header((3,)) + b"\0\0", "x claims 3 bytes, and the file holds 2"),
        (header((3,)) + b"\0\0\0\0", "x claims 3 bytes, and the file holds 4"),
    ],
)
def test_what_is_no_array_is_told(tmp_path, content, message):
    with pytest.raises(ArrayError, match=message):
        read_array(write(tmp_path / "a.npz", "x", content), "x")


def test_a_missing_array_and_what_is_no_archive_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", y=np.arange(3))
    with pytest.raises(ArrayError, match="there is no array x"):
        read_array(tmp_path / "a.npz", "x")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(ArrayError, match="x cannot be read"):
        read_array(tmp_path / "b.npz", "x")
    with pytest.raises(ArrayError, match="x cannot be read"):
        read_array(tmp_path / "nowhere.npz", "x")


def test_damage_within_an_array_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(10_000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ArrayError, match="x cannot be read: Bad CRC-32"):
        read_array(tmp_path / "a.npz", "x")
