"""What normlib says when a request is wrong: one line that names the setting, its value and what is allowed."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


class RequestError(ValueError):
    """A request that cannot be met; found before TensorFlow starts or a file is written.

    Args:
        setting: Name of the setting, as the user typed it or would type it.
        value: What it was given.
        allowed: What it takes, as a phrase.
        names: The names that are allowed, where there is such a list; the nearest one is proposed.
    """

    def __init__(self, setting: str, value: object, allowed: str, names: Iterable[str] = ()):
        self._arguments = (setting, value, allowed, tuple(names))
        near = difflib.get_close_matches(str(value)[:80], self._arguments[3], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(f"{setting} is {_repr.repr(value)}; allowed: {allowed}{hint}")

    def __reduce__(self) -> tuple:
        # By what it was made of, so that it comes back whole from another process.
        return type(self), self._arguments
