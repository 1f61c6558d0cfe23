"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from normlib.errors import RequestError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader, and no interruption, ever meets half of it.

    The content goes to a temporary file in the same folder, to the disk, and then into place with ``os.replace``.

    Args:
        path: Where it goes; its folder is made when it is missing.
        content: Text (written as UTF-8) or bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private, and results are there to be shared
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(folder: Path, setting: str) -> None:
    """Refuse a folder that is a file, or that cannot be made or written. Nothing is left behind.

    Args:
        folder: It need not exist.
        setting: Name of the setting that holds it.

    Raises:
        RequestError: It is, or cannot.
    """
    path = folder.absolute()
    try:
        # Asked by trying: permissions alone do not tell, and root has them all.
        if path.is_dir():
            with tempfile.TemporaryFile(dir=path):
                return
        missing = [path, *path.parents]
        missing = missing[: next(i for i, parent in enumerate(missing) if os.path.lexists(parent))]
        (missing[-1] if missing else path).mkdir()
        missing[-1].rmdir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(setting, str(folder), f"a folder that can be written, and here: {reason}") from None


@contextlib.contextmanager
def only_writer(folder: Path, setting: str) -> Iterator[None]:
    """Keep other processes that ask in this way from writing a folder meanwhile.

    Args:
        folder: It is made when it is missing.
        setting: Name of the setting that holds it.

    Raises:
        RequestError: Another process is writing it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = folder / ".writer"
    try:
        with filelock.FileLock(folder / ".lock", blocking=False):
            write_atomically(writer, f"{os.getpid()}")
            try:
                yield
            finally:
                writer.unlink(missing_ok=True)
    except filelock.Timeout:
        process = writer.read_text() if writer.is_file() else "unknown"
        allowed = f"a folder that no other process is writing; process {process} is"
        raise RequestError(setting, str(folder), allowed) from None
