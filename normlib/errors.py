"""What normlib says when a request is wrong: one line that names the setting, its value and what is allowed."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class _Repr(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        try:
            return super().repr_int(value, level)
        except ValueError:  # Python's own limit
            return "a number of thousands of digits"


_repr = _Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80
_repr.maxlevel = 2  # a few lines of YAML can stand for more than any machine holds
_LONGEST = 1000  # characters of a message


class RequestError(ValueError):
    """A request that cannot be met; found before TensorFlow starts or a file is written.

    Args:
        setting: Name of the setting, as the user typed it or would type it.
        value: What it was given.
        allowed: What it takes, as a phrase.
        names: The names that are allowed, where there is such a list; the nearest one is proposed.
    """

    def __init__(self, setting: str, value: object, allowed: str, names: Iterable[str] = ()):
        self.arguments = (setting, value, allowed, tuple(names))
        near = difflib.get_close_matches(value[:80], self.arguments[3], n=1) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(one_line(f"{setting} is {_repr.repr(value)}; allowed: {allowed}{hint}"))

    def __reduce__(self) -> tuple:
        # By what it was made of, so that it comes back whole from another process.
        return type(self), self.arguments


def one_line(text: str) -> str:
    r"""Return a text as one line, not too long, of characters that a terminal only shows.

    Others, among them those that colour, erase or turn round what stands beside them, are written as Python writes
    them, such as ``\x1b``.
    """
    line = " ".join(text[: 2 * _LONGEST].split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def told(error: BaseException) -> str:
    """Return what an exception of somebody else's code says, as one line, its class first."""
    return one_line(f"{type(error).__name__}: {error}")[:300]
