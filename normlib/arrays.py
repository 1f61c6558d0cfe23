"""Arrays in ``.npz`` files, which anybody may have made: looked at before they are unpacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArrayError(ValueError):
    """A file that has no such array, or one that must not be read."""


def read_array(path: Path, name: str) -> np.ndarray:
    """Read one array of an ``.npz`` file.

    Args:
        path: The file, as ``numpy.savez`` and ``numpy.savez_compressed`` write it.
        name: The array's name in it.

    Returns:
        The array, of whatever shape and dtype it has.

    Raises:
        ArrayError: There is none of this name; it holds Python objects, which would have to be unpickled; its header
            claims another size than the file holds, or more than the machine has free; or the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise ArrayError(f"{name} is of version {version} of NumPy's format; known are 1.0 and 2.0")
            shape, _, dtype = _HEADERS[version](file)
            _check_claim(name, shape, dtype, archive.getinfo(f"{name}.npy").file_size - file.tell())
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except KeyError:
        raise ArrayError(f"there is no array {name}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise ArrayError(f"{name} cannot be read: {error}") from None
    except ArrayError:
        raise
    except ValueError as error:  # NumPy's, of a wrong header
        raise ArrayError(f"{name} is no array: {error}") from None


def _check_claim(name: str, shape: tuple[int, ...], dtype: np.dtype, held: int) -> None:
    if dtype.hasobject:
        raise ArrayError(f"{name} holds Python objects")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held:
        raise ArrayError(f"{name} claims {claimed:,} bytes, and the file holds {held:,}")
    if claimed > (free := psutil.virtual_memory().available):
        raise ArrayError(f"{name} claims {claimed:,} bytes, and the machine has {free:,} free")
