"""YAML files, which anybody may have made: read by a loader that makes nothing but plain data."""

from __future__ import annotations

from pathlib import Path

import yaml

from normlib.errors import RequestError

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
