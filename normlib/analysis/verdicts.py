"""Contrasts as text, estimated in pairs, and the verdict on each. SciPy does the tests."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import scipy.stats

from normlib.analysis.conditions import Varies, labels, split_records
from normlib.analysis.statistics import by_seed, half_width
from normlib.errors import RequestError, checked, real_number
from normlib.models.kinds import EMPTY
from normlib.models.ordering import Ordering, short_form
from normlib.runs.measures import find_measure

_SIDE = re.compile(r"(?P<one>[\w.:+/]+)|mean\((?P<several>[\w.:+/, ]+)\)")
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
        groups = [tuple(_full_form(text, slots, orderings) for text in group) for group in groups]
        named = [*groups[0], *groups[1]]
        for ordering in named:
            if ordering not in orderings:
                allowed = f"one of {', '.join(orderings)}"
                raise RequestError(f"an ordering of contrast {name}", ordering, allowed, names=orderings)
            if named.count(ordering) > 1:
                raise RequestError(f"contrast {name}", text, problem="each ordering may stand in it only once")
        return cls(name, *groups)

    def __str__(self) -> str:
        sides = (side[0] if len(side) == 1 else f"mean({', '.join(side)})" for side in (self.first, self.second))
        return " - ".join(sides)


def _full_form(text: str, slots: int, orderings: list[str]) -> str:
    """Return an ordering as records' tables have it; one's own kinds may be named with their modules or without."""
    padded = "/".join([*text.split("/"), *[EMPTY] * (slots - 1 - text.count("/"))])
    return padded if padded in orderings else short_form(str(Ordering.parse(text, slots)))


Contrasts: TypeAlias = Mapping[str, str] | Iterable[Contrast]


def read_contrasts(contrasts: Contrasts, orderings: Iterable[str]) -> list[Contrast]:
    """Return contrasts, whether they are given as text by name or have been read already.

    Args:
        contrasts: Such as ``{"order": "bn/gn - gn/bn"}``.
        orderings: The orderings that there are, in their full form.

    Raises:
        RequestError: Not a difference, or an ordering that there is not.
    """
    if isinstance(contrasts, Mapping):
        orderings = list(orderings)
        return [Contrast.parse(name, text, orderings) for name, text in contrasts.items()]
    return list(contrasts)


def paired_differences(records: pd.DataFrame, contrast: Contrast, measure: str) -> pd.Series:
    """Return the difference for each seed that all orderings of a contrast were run with.

    Args:
        records: One row a run, of one condition.
        contrast: The contrast.
        measure: A column, such as ``train_loss``.

    Returns:
        Float differences, indexed by seed. Seeds with a missing run are left out; a diverged run gives NaN.
    """
    needed = [*contrast.first, *contrast.second]
    table = by_seed(records[records["ordering"].isin(needed)], measure).reindex(columns=needed)
    there = by_seed(records.assign(run=1), "run").reindex(columns=needed).notna().all(axis=1)
    table = table.loc[there[there].index]
    first, second = (table[list(side)].mean(axis=1, skipna=False) for side in (contrast.first, contrast.second))
    return first - second


SIGNIFICANCE = 0.05
_RESAMPLES = 99_999  # sign flips drawn where there are more than that; all of them are counted where there are fewer
_FEWEST_RESAMPLES = 4_999  # with so many pairs that more would take long; p is then at least 0.0004
_MOST_SIGNS = 10_000_000  # drawn in all, and a twentieth of it at once: that bounds time and memory
_MOST_SEEDS = 10_000


@checked
def estimate(
    records: pd.DataFrame, contrasts: Contrasts, measure: str, margin: float, varies: Varies = ()
) -> pd.DataFrame:
    """Estimate declared contrasts and say of each what can be said.

    The interval is Student's t on the paired differences, which covers 95 % also with few pairs, as bootstrap
    intervals do not; p is that of the sign-flip permutation test. Holm's procedure (Holm 1979) holds the error of the
    family, which is all contrasts under all conditions, at 5 %. The sign-flip test takes differences for symmetric and
    says *differs* too often where runs are skewed, so the paired t test, corrected likewise, has to agree: with both,
    at most 5 % of simulated studies are wrong (``docs/calibration.py``).

    Args:
        records: One row a run, as ``load_records`` gives.
        contrasts: The declared contrasts, as text by name: ``{"order": "bn/gn - gn/bn"}``.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter; in the measure's unit.
        varies: What the study varies besides the ordering; each contrast is estimated under each condition.

    Returns:
        Indexed by the contrast's name: ``condition``, empty where nothing varies; ``contrast``; ``pairs``; ``mean``,
        ``sd``, ``low``, ``high``, of the difference; ``p`` and ``holm_p``, of the sign-flip test; ``t_p`` and
        ``holm_t_p``, of the t test; ``smallest_p``, below which so few pairs cannot go; ``first_better``, the share of
        pairs in which the first side is better (lower in loss, higher in accuracy), ties counted half; ``verdict``:

        - *differs*: both of Holm's p are below 0.05;
        - *differs negligibly*: so, but the interval lies inside the margin;
        - *level*: not so, and the interval lies inside the margin;
        - *undecided*: otherwise; ``seeds_needed`` says how many pairs would decide, as far as these pairs tell.

        A contrast or condition without runs stays in the family, with no pairs. With one pair, none or a diverged run,
        all but ``pairs`` is NaN and the verdict is *undecided*.

    Raises:
        RequestError: A contrast, measure or margin that is none, or runs that must not be compared.
    """
    check_margin(margin)
    parts = split_records(records, varies)
    return estimate_parts(parts, read_contrasts(contrasts, records["ordering"].unique()), measure, margin, varies)


def check_margin(margin: object) -> float:
    """Return a margin; refuse what is no positive, finite number.

    Raises:
        RequestError: It is none.
    """
    allowed = "a positive, finite number, in the unit of the measure"
    return real_number("margin", margin, allowed, lambda margin: margin > 0)


def estimate_parts(
    parts: Mapping[str, pd.DataFrame], contrasts: Sequence[Contrast], measure: str, margin: float, varies: Varies
) -> pd.DataFrame:
    """Estimate contrasts as ``estimate`` does, of runs that have been split by condition.

    Args:
        parts: The runs of each condition, see ``split_records``.
        contrasts: The contrasts.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter.
        varies: What the study varies; conditions without runs stay in the family.
    """
    lower_is_better = find_measure(measure).lower_is_better
    family = [(condition, contrast) for condition in labels(varies) for contrast in contrasts]
    differences = [
        paired_differences(parts[condition], contrast, measure).to_numpy(float) if condition in parts else np.empty(0)
        for condition, contrast in family
    ]
    rows = [
        {"name": contrast.name, "condition": condition, "contrast": str(contrast), "pairs": len(pairs), **described}
        for (condition, contrast), pairs, described in zip(
            family, differences, _describe_each(differences), strict=True
        )
    ]
    columns = ["name", "condition", "contrast", "pairs", *describe(np.empty(0))]
    frame = pd.DataFrame(rows, columns=columns).set_index("name")
    lower = frame.pop("first_lower")
    frame["first_better"] = lower if lower_is_better else 1 - lower
    for test in ("p", "t_p"):
        frame[f"holm_{test}"] = holm(frame[test].to_numpy(float))
    frame["verdict"] = decide(frame["low"], frame["high"], frame[["holm_p", "holm_t_p"]].max(axis=1), margin)
    frame["seeds_needed"] = [
        _pairs_to_decide(row["mean"], row["sd"], row["pairs"], margin, len(frame))
        if row["verdict"] == "undecided"
        else np.nan
        for _, row in frame.iterrows()
    ]
    return frame


@checked
def seeds_needed(
    records: pd.DataFrame, contrast: Contrast | str, margin: float, measure: str = "train_loss", family: int = 1
) -> float:
    """Return how many seeds would decide a contrast, if further pairs are like those that there are.

    Decided is a contrast that differs or is level, see ``estimate``. It is a plan, not a promise: about one study in
    two of that size decides.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrast: The contrast, such as ``"bn/gn - gn/bn"``.
        margin: The largest difference, either way, that does not matter.
        measure: A column, such as ``train_loss``.
        family: Number of contrasts, times conditions, that are declared together and corrected for.

    Returns:
        A whole number of pairs, the present ones if they decide; infinity where more than 10,000 are needed; NaN where
        there are fewer than two, or a diverged run.
    """
    contrasts = {"contrast": contrast} if isinstance(contrast, str) else [contrast]
    row = estimate(records, contrasts, measure, margin).iloc[0]
    if decide(row["low"], row["high"], family * max(row["p"], row["t_p"]), margin) != "undecided":
        return float(row["pairs"])
    return _pairs_to_decide(row["mean"], row["sd"], row["pairs"], margin, family)


def seeds_in_words(needed: float) -> str:
    """Return how many seeds would decide, as a phrase."""
    return "more than 10,000 seeds" if np.isinf(needed) else f"about {needed:.0f} seeds"


def describe(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Describe paired differences.

    Args:
        differences: ``[..., pairs]``, float.

    Returns:
        Arrays ``[...]``: ``mean``, ``sd``, ``low``, ``high``, ``p``, ``t_p``, ``smallest_p`` and ``first_lower``, as
        for ``estimate``. All NaN where there are fewer than two pairs or one of the differences is not finite.
    """
    pairs = differences.shape[-1]
    names = ("mean", "sd", "low", "high", "p", "t_p", "smallest_p", "first_lower")
    if pairs < 2 or not np.isfinite(differences).all():
        return {name: np.full(differences.shape[:-1], np.nan) for name in names}
    mean, sd = differences.mean(axis=-1), differences.std(axis=-1, ddof=1)
    reach = half_width(sd, pairs)
    p = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=min(_RESAMPLES, max(_FEWEST_RESAMPLES, _MOST_SIGNS // pairs)),
        batch=max(1, _MOST_SIGNS // (20 * pairs)),
        axis=-1,
        vectorized=True,
        rng=0,
    ).pvalue
    # SciPy's tolerance for ties is relative to the mean, so that it misses those of a mean of zero.
    p = np.where(np.abs(mean) <= 1e-12 * np.abs(differences).max(axis=-1), 1.0, p)
    first_lower = np.mean((differences < 0) + 0.5 * (differences == 0), axis=-1)
    smallest_p = np.full(mean.shape, 2.0 ** (1 - pairs))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # differences without spread lose precision, and may
        t_p = scipy.stats.ttest_1samp(differences, 0, axis=-1).pvalue
    t_p = np.where((sd == 0) & (mean == 0), 1.0, t_p)
    values = (mean, sd, mean - reach, mean + reach, p, t_p, smallest_p, first_lower)
    return dict(zip(names, values, strict=True))


def _describe_each(differences: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """Describe some contrasts' differences, those of as many pairs at once: the permutations are drawn but once."""
    described: list[dict[str, float]] = [{}] * len(differences)
    alike: dict[tuple[int, bool], list[int]] = {}
    for place, pairs in enumerate(differences):
        alike.setdefault((len(pairs), bool(np.isfinite(pairs).all())), []).append(place)
    for places in alike.values():
        together = describe(np.stack([differences[place] for place in places]))
        for i, place in enumerate(places):
            described[place] = {name: float(values[i]) for name, values in together.items()}
    return described


def decide(low: np.ndarray, high: np.ndarray, holm_p: np.ndarray, margin: float) -> np.ndarray:
    """Return the verdict of each contrast, given its interval, the larger of its p and the margin; see ``estimate``."""
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
