"""Planning: which difference a number of seeds can tell apart, and how many seeds would decide. SciPy has the t."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.special

from normlib.analysis.statistics import half_width
from normlib.analysis.verdicts import NOMINAL_DIFFERS, NOMINAL_LEVEL

POWER = 0.8
_MOST_SEEDS = 10_000


def detectable_difference(seeds: int, contrasts: int, looks: int = 1) -> float:
    """Return the difference that a contrast is said to have with a probability of 80 %, if its pairs are normal.

    Reckoned as if it were the first of its family to differ, which Holm's procedure corrects most.

    Args:
        seeds: Number of pairs, two or more, at the last look.
        contrasts: Size of the family: contrasts, times conditions.
        looks: Number of looks.

    Returns:
        The difference in standard deviations of the pairs.
    """
    freedom = seeds - 1
    critical = -scipy.special.stdtrit(freedom, NOMINAL_DIFFERS / (2 * contrasts * looks))
    return float(scipy.special.nctdtrinc(freedom, 1 - POWER, critical) / math.sqrt(seeds))


def level_margin(seeds: int, contrasts: int, looks: int = 1) -> float:
    """Return the margin within which a contrast without difference is said to be level with a probability of 80 %.

    Args:
        seeds: Number of pairs, two or more, at the last look.
        contrasts: Size of the family.
        looks: Number of looks.

    Returns:
        The margin in standard deviations of the pairs.
    """
    from scipy.optimize import brentq  # slow to import, and only needed here

    freedom = seeds - 1
    critical = -scipy.special.stdtrit(freedom, NOMINAL_LEVEL / (contrasts * looks))
    # The pairs' own standard deviations, as likely as each other: their squares follow a chi-square distribution.
    sds = np.sqrt(2 * scipy.special.gammaincinv(freedom / 2, (np.arange(400) + 0.5) / 400) / freedom)

    def lacking(margin: float) -> float:
        within = np.maximum(margin * math.sqrt(seeds) - critical * sds, 0)
        return float(np.mean(2 * scipy.special.ndtr(within) - 1) - POWER)

    return float(brentq(lacking, 0, 5 * (critical + 3) / math.sqrt(seeds)))


def pairs_to_decide(mean: float, sd: float, pairs: int, margin: float, contrasts: int) -> float:
    """Return the smallest number of pairs, above those that there are, that decides if all pairs are like these.

    Args:
        mean: Their mean difference.
        sd: Its standard deviation.
        pairs: Number of pairs that there are.
        margin: The largest difference, either way, that does not matter.
        contrasts: Size of the family.

    Returns:
        A whole number; infinity above 10,000; NaN of a NaN.
    """
    if math.isnan(mean):
        return math.nan
    more = np.arange(pairs + 1, _MOST_SEEDS + 1)
    different = half_width(sd, more, NOMINAL_DIFFERS / contrasts) < abs(mean)
    level = half_width(sd, more, 2 * NOMINAL_LEVEL / contrasts) < margin - abs(mean)
    enough = more[different | level]
    return float(enough[0]) if len(enough) else math.inf


def what_would_decide(row: pd.Series) -> str:
    """Return what would decide an undecided row of ``normlib.estimate``, as a phrase; of others nothing."""
    if pd.notna(row.get("next_look")):
        return f"the next look is at {row['next_look']:.0f} seeds"
    if pd.isna(row["seeds_needed"]):
        return ""
    needed = "more than 10,000" if np.isinf(row["seeds_needed"]) else f"about {row['seeds_needed']:.0f}"
    return f"{needed} seeds for a new study"


def plan_in_words(
    seeds: int, contrasts: int, margin: float, measure: str, looks: int = 1, sds: Iterable[float] = ()
) -> str:
    """Return what a study can tell apart before it is run, as a sentence.

    Args:
        seeds: Number of seeds, at the last look.
        contrasts: Size of the family: contrasts, times conditions.
        margin: The largest difference that does not matter.
        measure: What it is about, as a phrase.
        looks: Number of looks.
        sds: Standard deviations of the pairs that are expected of its contrasts; none where they are not known.
    """
    if not contrasts:
        return "Planned: no contrast is declared, so nothing will be judged."
    count = f"{seeds} seed{'s' if seeds != 1 else ''}"
    if seeds < 2:
        return f"Planned: {count} cannot decide any contrast; two are the fewest."
    known = sorted(sd for sd in sds if math.isfinite(sd) and sd > 0)
    differs, level = (reach(seeds, contrasts, looks) for reach in (detectable_difference, level_margin))
    family = "its contrast" if contrasts == 1 else f"one of its {contrasts} contrasts"
    if not known:
        return (
            f"Planned: with {count}, a difference of {differs:.2g} standard deviations of the pairs is seen in "
            f"{family} with 80 % power, and equal sides are said to be level, with as much, if the margin is "
            f"{level:.2g} of them or more."
        )
    ends = [known[0], known[-1]] if known[-1] > known[0] else known[:1]
    seen, wide = (" to ".join(f"{reach * sd:.2g}" for sd in ends) for reach in (differs, level))
    spread = " to ".join(f"{sd:.2g}" for sd in ends)
    return (
        f"Planned: with {count}, a difference of {seen} in {measure} is seen in {family} with 80 % power, and equal "
        f"sides are said to be level, with as much, if the margin is {wide} or more (it is {margin:g}); the pairs are "
        f"expected to have standard deviations of {spread}."
    )
