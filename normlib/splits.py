"""Slices of a data set's splits, in the notation of TensorFlow Datasets: ``train``, ``train[:10000]``, ``test[50%:]``.

Source: https://www.tensorflow.org/datasets/splits. A percentage is rounded to the nearest example, as there by
default, and a negative bound counts from the end. Joined splits (``train+test``) and shards are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from normlib.errors import RequestError

_BOUND = r"-?\d[\d_]{0,11}%?"
_PATTERN = re.compile(rf"(?P<name>\w+)(\[(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?\])?", re.ASCII)


@dataclass(frozen=True)
class Split:
    """Examples ``start`` (included) to ``stop`` (excluded) of the split ``name``."""

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def overlap(self, other: Split) -> int:
        """Return the number of examples that are in both."""
        return max(0, min(self.stop, other.stop) - max(self.start, other.start)) if self.name == other.name else 0


def parse_split(text: str, sizes: Mapping[str, int], setting: str = "split") -> Split:
    """Read a slice of a split.

    Args:
        text: Such as ``train[:10000]``.
        sizes: Number of examples of each split of the data set.
        setting: Name to use in the message when it is refused.

    Raises:
        RequestError: Not of this form, a split that the data set lacks, bounds outside it, or no example at all.
    """
    allowed = f"{' or '.join(sizes)}, or a slice such as {next(iter(sizes))}[:1000] or {next(iter(sizes))}[50%:]"
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["name"] not in sizes:
        raise RequestError(setting, text, allowed, names=sizes)
    size = sizes[match["name"]]
    start = _bound(match["start"], size, default=0)
    stop = _bound(match["stop"], size, default=size)
    if not 0 <= start < stop <= size:
        raise RequestError(setting, text, f"at least one example, within the {size} of {match['name']}")
    return Split(match["name"], start, stop)


def _bound(text: str | None, size: int, default: int) -> int:
    if text is None:
        return default
    bound = round(int(text[:-1]) * size / 100) if text.endswith("%") else int(text)
    return bound + size if text.startswith("-") else bound
