"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
