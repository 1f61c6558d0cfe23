"""Contrasts: differences of orderings, or of groups of them, declared in advance and taken from runs paired by seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TypedDict

import pandas as pd

from normlib.analysis.conditions import Varies
from normlib.analysis.statistics import by_seed, check_comparable
from normlib.errors import RequestError
from normlib.models.ordering import Ordering

_SIDE = re.compile(r"(?P<one>[a-z+/]+)|mean\((?P<several>[a-z+/, ]+)\)")
_FORM = "a difference such as 'bn/gn - gn/bn' or 'mean(bn/gn, gn/bn) - none/none'"


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A difference of two orderings, or of the means of two groups of orderings.

    Args:
        name: What it is called.
        first: The orderings whose mean stands before the minus.
        second: Those behind it.
    """

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @classmethod
    def parse(cls, name: str, text: str, orderings: Iterable[str]) -> Contrast:
        """Read ``"bn/gn - gn/bn"`` or ``"mean(bn/gn, gn/bn) - mean(bn/bn, gn/gn)"``.

        Args:
            name: What it is called.
            text: The difference.
            orderings: The orderings that there are, in their full form.

        Raises:
            RequestError: Not a difference, or an ordering that there is not.
        """
        parts = text.split(" - ") if isinstance(text, str) else []
        sides = [side for part in parts if (side := _SIDE.fullmatch(part.strip()))]
        if not len(parts) == len(sides) == 2:
            raise RequestError(f"contrast {name}", text, _FORM)
        groups = [tuple(part.strip() for part in (side["one"] or side["several"]).split(",")) for side in sides]
        orderings = list(orderings)
        slots = orderings[0].count("/") + 1
        groups = [tuple(str(Ordering.parse(ordering, slots)) for ordering in group) for group in groups]
        named = [*groups[0], *groups[1]]
        for ordering in named:
            if ordering not in orderings:
                raise RequestError(f"contrast {name}", ordering, f"the study's {', '.join(orderings)}", names=orderings)
            if named.count(ordering) > 1:
                raise RequestError(f"contrast {name}", text, "each ordering once")
        return cls(name, *groups)

    def __str__(self) -> str:
        sides = (side[0] if len(side) == 1 else f"mean({', '.join(side)})" for side in (self.first, self.second))
        return " - ".join(sides)


class Family(TypedDict):
    """Contrasts that are declared, and corrected for, together, as ``normlib.estimate`` takes them."""

    contrasts: list[Contrast]
    measure: str
    margin: float
    varies: Varies


def paired_differences(records: pd.DataFrame, contrast: Contrast, measure: str) -> pd.Series:
    """Return the difference for each seed that all orderings of a contrast were run with.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrast: The contrast.
        measure: A column, such as ``train_loss``.

    Returns:
        Float differences, indexed by seed. Seeds with a missing run are left out; a diverged run gives NaN.

    Raises:
        RequestError: A measure that the records lack, or runs that must not be compared.
    """
    check_comparable(records)
    if measure not in records.columns:
        measures = [name for name in records.columns if name.endswith(("_loss", "_accuracy"))]
        raise RequestError("measure", measure, ", ".join(measures), names=measures)
    needed = {*contrast.first, *contrast.second}
    compared = records[records["ordering"].isin(needed)]
    runs = compared.groupby("seed").size()
    complete = runs[runs == len(needed)].index
    if complete.empty:
        return pd.Series(dtype=float)
    table = by_seed(compared, measure).loc[complete]
    first, second = (table[list(side)].mean(axis=1, skipna=False) for side in (contrast.first, contrast.second))
    return first - second
