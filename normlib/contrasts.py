"""Contrasts: differences of orderings declared in advance, estimated from runs paired by seed, with a verdict.

An interval covers what the seed decides, which is initialization, shuffle and dropout; it does not cover other data.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.stats

from normlib.errors import RequestError
from normlib.ordering import Ordering
from normlib.statistics import check_comparable, half_width

SIGNIFICANCE = 0.05
_RESAMPLES = 99_999  # sign flips drawn where there are more than that; all of them are counted where there are fewer
_MOST_SEEDS = 10_000
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
        sides = [_SIDE.fullmatch(side.strip()) for side in text.split(" - ")] if isinstance(text, str) else []
        if len(sides) != 2 or None in sides:
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
    needed = [*contrast.first, *contrast.second]
    values = records[records["ordering"].isin(needed)].set_index(["seed", "ordering"])[measure].astype(float)
    runs = values.groupby("seed").size()
    complete = runs[runs == len(set(needed))].index
    if complete.empty:
        return pd.Series(dtype=float)
    table = values.unstack("ordering").loc[complete]  # noqa: PD010  (pivot_table would average, and drop NaN)
    first, second = (
        table[list(side)].astype(float).mean(axis=1, skipna=False) for side in (contrast.first, contrast.second)
    )
    return first - second


def estimate(records: pd.DataFrame, contrasts: Iterable[Contrast], measure: str, margin: float) -> pd.DataFrame:
    """Estimate declared contrasts and say of each what can be said.

    The interval is Student's t on the paired differences, which covers 95 % also with few pairs, as bootstrap
    intervals do not; p is that of the sign-flip permutation test; Holm's procedure (Holm 1979) holds the family's error
    at 5 %.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrasts: The declared family.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter; in the measure's unit.

    Returns:
        Indexed by the contrast's name: ``contrast``; ``pairs``; ``mean``, ``low``, ``high``, of the difference; ``p``
        and ``holm_p``; ``smallest_p``, below which so few pairs cannot go; ``first_lower``, the share of pairs in which
        the first side is lower, ties counted half; ``verdict``:

        - *differs*: Holm's p is below 0.05;
        - *differs negligibly*: so, but the interval lies inside the margin;
        - *level*: not so, and the interval lies inside the margin;
        - *undecided*: otherwise; ``seeds_needed`` says how many pairs would decide, as far as these pairs tell.

        With one pair, none or a diverged run, all but ``pairs`` is NaN and the verdict is *undecided*.
    """
    rows = {}
    for contrast in contrasts:
        differences = paired_differences(records, contrast, measure).to_numpy(float)
        described = {name: float(value) for name, value in describe(differences).items()}
        rows[contrast.name] = {"contrast": str(contrast), "pairs": len(differences), **described}
    columns = ["contrast", "pairs", *describe(np.empty(0))]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=None if rows else columns).rename_axis("name")
    frame["holm_p"] = holm(frame["p"].to_numpy(float))
    frame["verdict"] = verdicts(frame["low"], frame["high"], frame["holm_p"], margin)
    frame["seeds_needed"] = [
        _pairs_to_decide(row["mean"], row["sd"], row["pairs"], margin, len(frame))
        if row["verdict"] == "undecided"
        else np.nan
        for _, row in frame.iterrows()
    ]
    return frame


def seeds_needed(records: pd.DataFrame, contrast: Contrast, margin: float, measure: str = "train_loss") -> float:
    """Return how many seeds would decide a contrast, if further pairs are like those that there are.

    Decided is a contrast that differs or is level, see ``estimate``. It is a plan, not a promise: about one study in
    two of that size decides.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrast: The contrast.
        margin: The largest difference, either way, that does not matter.
        measure: A column, such as ``train_loss``.

    Returns:
        A whole number of pairs, the present ones if they decide; infinity where more than 10,000 are needed; NaN where
        there are fewer than two, or a diverged run.
    """
    row = estimate(records, [contrast], measure, margin).iloc[0]
    return row["seeds_needed"] if row["verdict"] == "undecided" else float(row["pairs"])


def describe(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Describe paired differences.

    Args:
        differences: ``[..., pairs]``, float.

    Returns:
        Arrays ``[...]``: ``mean``, ``sd``, ``low``, ``high``, ``p``, ``smallest_p`` and ``first_lower``, as for
        ``estimate``. All NaN where there are fewer than two pairs or one of the differences is not finite.
    """
    pairs = differences.shape[-1]
    names = ("mean", "sd", "low", "high", "p", "smallest_p", "first_lower")
    if pairs < 2 or not np.isfinite(differences).all():
        return {name: np.full(differences.shape[:-1], np.nan) for name in names}
    mean, sd = differences.mean(axis=-1), differences.std(axis=-1, ddof=1)
    reach = half_width(sd, pairs)
    p = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_RESAMPLES, axis=-1, vectorized=True, rng=0
    ).pvalue
    # SciPy's tolerance for ties is relative to the mean, so that it misses those of a mean of zero.
    p = np.where(np.abs(mean) <= 1e-12 * np.abs(differences).max(axis=-1), 1.0, p)
    first_lower = np.mean((differences < 0) + 0.5 * (differences == 0), axis=-1)
    smallest_p = np.full(mean.shape, 2.0 / 2**pairs)
    values = (mean, sd, mean - reach, mean + reach, p, smallest_p, first_lower)
    return dict(zip(names, values, strict=True))


def verdicts(low: np.ndarray, high: np.ndarray, holm_p: np.ndarray, margin: float) -> np.ndarray:
    """Return the verdict of each contrast, given its interval, Holm's p and the margin; see ``estimate``."""
    inside = (-margin < np.asarray(low)) & (np.asarray(high) < margin)
    different = np.asarray(holm_p) < SIGNIFICANCE
    words = ["differs negligibly", "differs", "level"]
    return np.select([different & inside, different, inside], words, default="undecided")


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values by Holm's procedure (Holm 1979); NaN stays NaN, and counts as the family's largest.

    Args:
        p: P-values ``[..., k]``, of a family of k.

    Returns:
        Adjusted p-values ``[..., k]``, at most 1, in the given order.
    """
    order = np.argsort(p, axis=-1)  # NaN last
    factors = np.arange(p.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * factors, axis=-1)
    adjusted = np.empty_like(stepped)
    np.put_along_axis(adjusted, order, np.minimum(1, stepped), axis=-1)
    return adjusted


def _pairs_to_decide(mean: float, sd: float, pairs: int, margin: float, family: int) -> float:
    """Return the smallest number of pairs, above those that there are, that decides if all pairs are like these."""
    if math.isnan(mean):
        return math.nan
    more = np.arange(pairs + 1, _MOST_SEEDS + 1)
    # To differ, p has to withstand Holm's correction, at worst the whole family's.
    different = (half_width(sd, more, SIGNIFICANCE / family) < abs(mean)) & (2.0**-more * 2 * family < SIGNIFICANCE)
    level = half_width(sd, more) < margin - abs(mean)
    enough = more[different | level]
    return float(enough[0]) if len(enough) else math.inf
