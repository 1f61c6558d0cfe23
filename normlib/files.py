"""Files: written whole or not at all, in a folder by one study at a time; and YAML that people wrote."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import itertools
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml

from normlib.errors import RequestError

LARGEST_FILE = 100_000  # bytes of a YAML file; the studies that ship have a thousand or two
_LARGEST_RECORD = 50_000_000  # bytes; the record of a run of thousands of epochs has a few million
_PREFIX, _SUFFIX = ".normlib-", ".tmp"  # of files that are being written


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader, and no interruption, ever meets half of it; its folder is made when missing.

    The content goes to a temporary file in the same folder, to the disk, and then into place with ``os.replace``. What
    a killed process leaves of such files is removed by ``only_writer``.

    Raises:
        OSError: It cannot be written: the disk is full, say. The error names the file.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
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


def read_text(path: Path, largest: int = _LARGEST_RECORD) -> str:
    """Return the text of a file, which anybody may have put there.

    Raises:
        OSError: It is no regular file, larger than ``largest`` bytes, or cannot be read.
        UnicodeDecodeError: It is no UTF-8.
    """
    if not path.is_file():  # to read a pipe would never end
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    if path.stat().st_size > largest:
        raise OSError(errno.EFBIG, f"Larger than {largest:,} bytes", str(path))
    return path.read_bytes().decode("utf-8")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, where the system keeps such; those of killed processes are removed."""
    # Host and process stand in the name: a folder in which that host's process works stays.
    ours = f"normlib-{platform.node()}-"
    for name in glob.iglob(f"{glob.escape(ours)}*", root_dir=tempfile.gettempdir()):
        process = name.removeprefix(ours).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{ours}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder, under a name that is free there, and return its new path; nothing is lost."""
    folder.mkdir(parents=True, exist_ok=True)
    names = itertools.chain([path.name], (f"{path.stem}_{number}{path.suffix}" for number in itertools.count(2)))
    target = next(folder / name for name in names if not os.path.lexists(folder / name))
    os.rename(path, target)
    return target


def check_writable(folder: Path, setting: str) -> None:
    """Refuse a folder that is a file, or that cannot be made or written. It need not exist, and nothing is left behind.

    Raises:
        RequestError: It is, or cannot; ``setting`` is the name of what holds it.
    """
    try:
        # Asked by trying: permissions alone do not tell, and root has them all.
        with tempfile.TemporaryFile(dir=_nearest(folder.absolute())):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(setting, str(folder), problem=f"it cannot be written: {reason}") from None


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest one above it that is there."""
    try:
        path.lstat()
    except FileNotFoundError:
        return _nearest(path.parent)
    return path


def check_inside(folder: Path, setting: str) -> None:
    """Refuse a folder in which a link leads out of it: what is written into the folder would land elsewhere.

    Raises:
        RequestError: There is such a link; ``setting`` is the name of what holds the folder, which need not exist.
    """
    for path in folder.iterdir() if os.path.isdir(folder) else ():
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise RequestError(setting, str(folder), problem=f"the link {path.name!r} in it leads to another folder")


@contextlib.contextmanager
def only_writer(folder: Path, setting: str) -> Iterator[None]:
    """Make and lock a folder for a study; what killed processes left there half written is removed, before and after.

    Raises:
        RequestError: Another process has locked it; ``setting`` is the name of what holds it.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    writer = folder / ".writer"
    try:
        with filelock.FileLock(folder / ".lock", blocking=False):
            _sweep(folder)
            write_atomically(writer, f"{os.getpid()}")
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # of a disk that has become read-only; the lock is what counts
                    _sweep(folder)
                    writer.unlink()
    except filelock.Timeout:
        process = "another process"
        with contextlib.suppress(OSError):  # it has the lock, and has not said yet which one it is
            process = f"process {writer.read_text()}"
        raise RequestError(setting, str(folder), problem=f"{process} is writing it") from None


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of a folder, and of those in it."""
    for place in ("", "*/"):
        for path in folder.glob(f"{place}{_PREFIX}*{_SUFFIX}"):
            path.unlink(missing_ok=True)


def read_yaml(setting: str, path: Path) -> tuple[object, str]:
    """Return what a YAML file says, and the file's SHA-256 in hexadecimal digits.

    Raises:
        RequestError: It cannot be read, is larger than ``LARGEST_FILE``, is no YAML in UTF-8, has tags that would make
            anything but plain data, or a key that stands twice.
    """
    try:
        text = read_text(path, LARGEST_FILE)
        return yaml.load(text, _Loader), hashlib.sha256(text.encode()).hexdigest()
    except OSError as error:
        raise RequestError(setting, str(path), problem=f"it cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        problem = getattr(error, "problem", None)
        reason = f": {problem}" if problem else ""
        raise RequestError(setting, str(path), problem=f"it is not valid YAML{line}{reason}") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice, or that is no word; PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # aliases of aliases, say, more than any memory holds
                raise yaml.constructor.ConstructorError(None, None, "a key is no word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
