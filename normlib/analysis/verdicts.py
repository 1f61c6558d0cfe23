"""Verdicts: which contrasts of a family differ, which are level, and which are undecided. SciPy does the tests.

Student's t test on the paired differences says whether a contrast differs; two one-sided t tests (Schuirmann 1987, A
comparison of the two one-sided tests procedure and the power approach, J. Pharmacokinetics and Biopharmaceutics 15) say
whether it is level. Holm's procedure (Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian
Journal of Statistics 6) corrects each of the two over the whole family. The nominal levels are lower than 5 %, so that
the error was at most 5 % also where runs were skewed: see ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.special

from normlib.analysis.statistics import describe

NOMINAL_DIFFERS = 0.02  # the level of the tests for a difference, of a whole family and over all looks
NOMINAL_LEVEL = 0.0125  # that of the tests for its being level
_ROUNDING = 1e-9  # a spread below this share of the mean is that of rounding
_FIGURES = ("pairs", "mean", "sd", "low", "high", "skewness", "first_lower")


def judge(differences: Sequence[np.ndarray | pd.Series], margin: float, looks: int = 1) -> pd.DataFrame:
    """Judge a family of contrasts by their paired differences.

    Args:
        differences: For each contrast ``[pairs]``, float. One with fewer than two pairs, or with a pair that is not
            finite, stays in the family and is undecided.
        margin: The largest difference, either way, that does not matter.
        looks: How often in all such a family is judged while runs are added; each look has an equal share of the error.

    Returns:
        One row a contrast: ``pairs``; ``mean``, ``sd``, ``low`` and ``high``, Student's t interval at 95 %, of the
        difference; ``skewness``, of the pairs; ``first_lower``, the share of pairs below zero, ties counted half;
        ``differs_p`` and ``level_p``, corrected by Holm; ``verdict``, see ``decide``. NaN where there is none.
    """
    frame = pd.DataFrame([_describe(np.asarray(pairs, float)) for pairs in differences], columns=_FIGURES)
    pairs, mean, sd = (frame[name].to_numpy(float) for name in ("pairs", "mean", "sd"))
    frame["differs_p"], frame["level_p"] = p_values(pairs, mean, sd, margin)
    frame["verdict"] = decide(frame["differs_p"].to_numpy(), frame["level_p"].to_numpy(), looks)
    return frame


def p_values(pairs: np.ndarray, mean: np.ndarray, sd: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values of a family, corrected by Holm: of no difference, and of one of the margin or more.

    Args:
        pairs: Numbers of pairs ``[..., contrasts]``, or one number for all.
        mean: Mean differences ``[..., contrasts]``.
        sd: Their standard deviations (divisor n - 1) ``[..., contrasts]``.
        margin: The largest difference, either way, that does not matter; or one for each contrast.
    """
    freedom, error = np.asarray(pairs) - 1, sd / np.sqrt(pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        differs = 2 * scipy.special.stdtr(freedom, -np.abs(mean) / error)
        above, below = (scipy.special.stdtr(freedom, (side * mean - margin) / error) for side in (1, -1))
    # Pairs without spread, or with that of rounding alone, give no t; the sign test has them as far as it can.
    still = sd <= _ROUNDING * np.abs(mean)
    signs = 0.5 ** np.asarray(pairs, float)
    differs = np.where(still, np.where(mean == 0, 1.0, 2 * signs), differs)
    level = np.where(still, np.where(np.abs(mean) < margin, signs, 1.0), np.maximum(above, below))
    return holm(differs), holm(level)


def decide(differs_p: np.ndarray, level_p: np.ndarray, looks: int = 1) -> np.ndarray:
    """Return the verdict on each contrast by its corrected p-values.

    *differs*: the test for a difference holds. *level*: both one-sided tests against the margin hold. *differs
    negligibly*: all of them do. *undecided*: none does.
    """
    different, level = differs_p < NOMINAL_DIFFERS / looks, level_p < NOMINAL_LEVEL / looks
    words = ["differs negligibly", "differs", "level"]
    return np.select([different & level, different, level], words, default="undecided")


def judge_at_looks(differences: Sequence[pd.Series], margin: float, looks: Sequence[range]) -> pd.DataFrame:
    """Judge a family whose runs are added look by look; what was decided at a look stays as it was decided.

    At each look the whole family is tested anew, at an equal share of the nominal level: the errors of the looks add up
    to no more than it (Bonferroni). A look is taken when all contrasts have all its pairs.

    Args:
        differences: For each contrast its differences, indexed by seed.
        margin: The largest difference, either way, that does not matter.
        looks: The seeds of each look, those of the one before among them.

    Returns:
        As ``judge``, with ``look``, the number of seeds of the deciding look, or else of the last one that was taken
        (NaN: none was); ``later_pairs`` and ``later_mean``, of the pairs that came after a decision.
    """
    ends = {len(seeds): [pairs[pairs.index.isin(seeds)] for pairs in differences] for seeds in looks}
    taken = [(look, pairs) for look, pairs in ends.items() if all(len(some) == look for some in pairs)]
    if not taken:
        return judge(differences, margin).assign(verdict="undecided", look=np.nan, later_pairs=0, later_mean=np.nan)
    frame = judge(taken[0][1], margin, len(looks)).assign(look=taken[0][0])
    for look, pairs in taken[1:]:
        is_open = frame["verdict"] == "undecided"
        frame[is_open] = judge(pairs, margin, len(looks)).assign(look=look)[is_open]
    later = [
        pairs.drop(ends[look][place].index) if verdict != "undecided" else pairs[:0]
        for place, (pairs, look, verdict) in enumerate(zip(differences, frame["look"], frame["verdict"], strict=True))
    ]
    return frame.assign(later_pairs=[*map(len, later)], later_mean=[pairs.mean(skipna=False) for pairs in later])


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
    return np.take_along_axis(np.minimum(1, stepped), np.argsort(order, axis=-1), axis=-1)


def _describe(pairs: np.ndarray) -> dict[str, float]:
    if len(pairs) < 2 or not np.isfinite(pairs).all():
        return {"pairs": len(pairs)}
    found = describe(pd.Series(pairs))
    skewness = ((pairs - found["mean"]) ** 3).mean() / pairs.std() ** 3 if found["sd"] > 0 else 0.0
    lower = np.mean((pairs < 0) + 0.5 * (pairs == 0))
    return {"pairs": len(pairs), **found, "skewness": skewness, "first_lower": lower}
