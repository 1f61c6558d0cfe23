"""Files: written whole or not at all, locked, swept; and YAML that people wrote."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import yaml

from normlib.errors import RequestError

try:
    import fcntl
except ImportError:  # on Windows, where what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]  # a module that is not there

_LARGEST_FILE = 50_000_000  # bytes; the record of a run of thousands of epochs has a few million
_PREFIX, _SUFFIX = ".normlib-", ".tmp"  # of what is there for the time being


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader, and no interruption, ever meets half of it.

    The content goes to a temporary file in the same folder, to the disk, and then into place with ``os.replace``.

    Args:
        path: Where it goes; its folder is made when it is missing.
        content: Text (written as UTF-8) or bytes.

    Raises:
        OSError: It cannot be written: the disk is full, say. The error names the file.
    """
    temporary = ""
    try:
        descriptor, temporary = _make_file(path.parent)
        with os.fdopen(descriptor, "wb") as file:  # locked until it is closed, which comes last
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes it private, and results are there to be shared
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # there is none, or the disk has become read-only
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def read_text(path: Path) -> str:
    """Return the text of a file, which anybody may have put there.

    Raises:
        OSError: It is no regular file, too large to be one of normlib's, or cannot be read.
        UnicodeDecodeError: It is no UTF-8.
    """
    if not path.is_file():  # to read a pipe would never end
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    if path.stat().st_size > _LARGEST_FILE:
        raise OSError(errno.EFBIG, "Too large for what it should be", str(path))
    return path.read_text(encoding="utf-8")


class ScratchFolder(tempfile.TemporaryDirectory):
    """A folder for the time being, where the system keeps such. Those that killed processes left there go."""

    def __init__(self) -> None:
        sweep(Path(tempfile.gettempdir()))
        while not self._make():  # it was swept before it was locked
            super().cleanup()

    def _make(self) -> bool:
        super().__init__(prefix=_PREFIX, suffix=_SUFFIX, ignore_cleanup_errors=True)
        try:
            self._descriptor = os.open(self.name, os.O_RDONLY)
        except FileNotFoundError:
            return False
        _lock(self._descriptor)
        if os.path.exists(self.name):
            return True
        os.close(self._descriptor)
        return False

    def cleanup(self) -> None:
        """Remove the folder."""
        super().cleanup()
        with contextlib.suppress(OSError):  # it has been closed before
            os.close(self._descriptor)


def sweep(folder: Path) -> None:
    """Remove from a folder what processes of this user had there for the time being when they were killed.

    What a living process has is locked, and stays. Folders in the folder are not looked through.

    Args:
        folder: It need not exist.
    """
    with contextlib.suppress(OSError):  # there is none, or it cannot be listed
        for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another user's, or another process was faster
                _sweep_one(path)


def _sweep_one(path: Path) -> None:
    if path.is_symlink() or path.lstat().st_uid != os.getuid():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _lock(descriptor):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(descriptor)


def _make_file(folder: Path) -> tuple[int, str]:
    """Make a temporary file that is locked as long as it is open; return its descriptor and its path."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor, path = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # another process made it, to see whether it can be made, and has removed it
        _lock(descriptor)
        if os.path.exists(path):
            return descriptor, path
        os.close(descriptor)  # it was swept before it was locked


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; return whether it could be, and nobody else has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, AttributeError):  # locked; or a file system, or an operating system, without such locks
        return False
    return True


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder, under a name that is free there, and return its new path; nothing is lost."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    for number in itertools.count(2):
        if not os.path.lexists(target):
            break
        target = folder / f"{path.stem}_{number}{path.suffix}"
    os.rename(path, target)
    return target


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
        if not missing:
            path.mkdir()  # which tells why it cannot be
        with contextlib.suppress(FileExistsError):  # another process was faster, and may have put something there
            missing[-1].mkdir()
            with contextlib.suppress(OSError):
                missing[-1].rmdir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(setting, str(folder), f"a folder that can be written, and here: {reason}") from None


def check_inside(folder: Path, setting: str) -> None:
    """Refuse a folder in which a link leads out of it: what is written into the folder would land elsewhere.

    Args:
        folder: It need not exist.
        setting: Name of the setting that holds it.

    Raises:
        RequestError: There is such a link.
    """
    for path in folder.iterdir() if os.path.isdir(folder) else ():
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            allowed = f"a folder without links that lead out of it, as {path.name!r} does"
            raise RequestError(setting, str(folder), allowed)


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
                with contextlib.suppress(OSError):  # of a disk that has become read-only; the lock is what counts
                    writer.unlink()
    except filelock.Timeout:
        for _ in range(20):  # it writes its number as soon as it has the lock
            if writer.is_file():
                break
            time.sleep(0.05)
        process = writer.read_text() if writer.is_file() else "unknown"
        allowed = f"a folder that no other process is writing; process {process} is"
        raise RequestError(setting, str(folder), allowed) from None


LARGEST_FILE = 100_000  # bytes; the studies that ship have a thousand or two


def read_small(setting: str, path: Path) -> bytes:
    """Return what is in a file, if it is not too large to be read by hand.

    Args:
        setting: Name of the setting that holds the path.
        path: The file.

    Raises:
        RequestError: It cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RequestError(setting, str(path), f"a YAML file of at most {LARGEST_FILE:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise RequestError(setting, str(path), f"a file that can be read; {error.strerror}") from None


def load(setting: str, path: Path, content: bytes) -> object:
    """Return what some YAML says.

    Args:
        setting: Name of the setting that holds the path.
        path: Where it comes from.
        content: The YAML, as UTF-8.

    Raises:
        RequestError: It is no YAML, or has tags that would make anything but plain data, or a key that stands twice.
    """
    try:
        return yaml.load(content.decode("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None)
        reason = f" ({problem})" if problem else ""
        raise RequestError(setting, str(path), f"a YAML file; this is none{line}{reason}") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice, or that is no word; PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # aliases of aliases, say, more than any memory holds
                raise yaml.constructor.ConstructorError(None, None, "a key that is no word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
