"""Agreement: does a study that was run in two places, A and B, give the same figures? SciPy does the statistics.

A place is a stack, a processor, a device and a number of threads. Means of A and B are compared by Welch's interval
(Welch 1947, The generalization of "Student's" problem when several different population variances are involved,
Biometrika 34), which takes the runs of A for independent of those of B. With the same seed they are not quite: on both
stacks it gives the same batches and most of the same kernels, but other dropout masks. Where that makes runs alike, the
interval is wider than it need be: too much agrees, never too little.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from normlib.analysis.comparison import Comparison, name_rows
from normlib.analysis.contrasts import family
from normlib.analysis.statistics import CONFIDENCE
from normlib.analysis.verdicts import holm, judge
from normlib.runs.measures import MAIN_MEASURES

_SUMMARY = ["runs", "mean", "low", "high"]
_DIFFERENCE = ("difference", "low", "high", "p")


def compare_figures(a: Comparison, b: Comparison, measures: Sequence[str] = MAIN_MEASURES) -> pd.DataFrame:
    """Compare the figures that two sides of a study have in common.

    The verdict is that of each figure's own interval, so that the one can be seen in the other: among figures that are
    truly equal, up to one in twenty is said to differ. ``holm_p``, of Welch's test with Holm's correction over all
    rows, is below 0.05 for any of these in at most one comparison in twenty. *Agrees* says that no difference is seen,
    not that there is none; how large one may be, the interval tells.

    Args:
        a: Side A.
        b: Side B, of the same study.
        measures: Columns, such as ``train_loss``.

    Returns:
        One row a measure, condition and ordering that both sides have: ``measure``; ``condition``, empty where nothing
        varies; ``ordering``; ``runs_a``, ``mean_a``, ``low_a``, ``high_a``, as ``summarize`` gives them with Student's
        t interval at 95 %, and the same of B; ``difference``, B's mean minus A's; ``low`` and ``high``, its Welch
        interval at 95 %; ``p`` and ``holm_p``; ``verdict``:

        - *agrees*: the interval holds zero;
        - *differs*: it does not;
        - *undecided*: there is none, since a side has a diverged run, or but one run.
    """
    tables = []
    for measure in measures:
        sides = [side.summary(measure)[_SUMMARY].add_suffix(f"_{letter}") for side, letter in ((a, "a"), (b, "b"))]
        both = sides[0].join(sides[1], how="inner")
        found = [welch(_values(a, place, measure), _values(b, place, measure)) for place in both.index]
        differences = pd.DataFrame(found, columns=list(_DIFFERENCE), index=both.index)
        tables.append(both.join(differences).assign(measure=measure).reset_index())
    frame = pd.concat(tables, ignore_index=True)
    holds_zero = (frame["low"] <= 0) & (frame["high"] >= 0)
    verdicts = np.select([frame["p"].isna(), holds_zero], ["undecided", "agrees"], default="differs")
    return frame.assign(holm_p=holm(frame["p"].to_numpy(float)), verdict=verdicts)


def compare_contrasts(a: Comparison, b: Comparison) -> pd.DataFrame:
    """Compare what two sides of a study say of the contrasts that either of them declares.

    Within a side each contrast has its verdict in the whole family, see ``estimate``. Whether a contrast depends on the
    place is told by B's difference minus A's, seed by seed, judged as a family of its own by the same rule.

    Args:
        a: Side A.
        b: Side B, of the same study.

    Returns:
        One row a contrast and condition: ``name``; ``condition``; ``contrast``; ``pairs_a``, ``mean_a``, ``low_a``,
        ``high_a``, ``verdict_a``, and the same of B; ``same_verdict``, whether both are the same word and, where that
        is *differs* or *differs negligibly*, in the same direction, and false where a side has no pairs; of the change
        from A to B, by the seeds that both have: ``difference``, its mean, ``low``, ``high``, ``holm_p`` and
        ``verdict``, which is *differs* where the contrast was seen to depend on the place.
    """
    contrasts = list({contrast.name: contrast for contrast in [*a.contrasts, *b.contrasts]}.values())
    keys, columns = ["name", "condition"], ["pairs", "mean", "low", "high", "verdict"]
    frame = name_rows(family(contrasts, a.varies))
    for letter, side in (("a", a), ("b", b)):
        own = side.estimates.set_index("condition", append=True)[columns].add_suffix(f"_{letter}")
        frame = frame.join(own, on=keys).fillna({f"pairs_{letter}": 0, f"verdict_{letter}": "undecided"})
    frame = frame.astype({"pairs_a": int, "pairs_b": int})
    same = frame["verdict_a"] == frame["verdict_b"]
    same &= ~frame["verdict_a"].str.startswith("differs") | (np.sign(frame["mean_a"]) == np.sign(frame["mean_b"]))
    frame["same_verdict"] = same & (frame[["pairs_a", "pairs_b"]] > 0).all(axis=1)
    here, there = (side.paired_differences(a.measure.column, contrasts) for side in (a, b))
    changes = [
        (after - before).loc[before.index.intersection(after.index)] for before, after in zip(here, there, strict=True)
    ]
    changed = judge(changes, a.margin, max(1, len(a.looks)))[["mean", "low", "high", "differs_p", "verdict"]]
    return frame.join(changed.rename(columns={"mean": "difference", "differs_p": "holm_p"}))


def welch(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare two means without taking the variances for equal (Welch 1947).

    Args:
        a: ``[n]``, float.
        b: ``[m]``, float.

    Returns:
        ``difference``, b's mean minus a's; ``low`` and ``high``, its interval at 95 %; ``p``, two-sided. All NaN where
        one has fewer than two values, or one that is not finite.
    """
    import scipy.stats  # slow to import, and only needed here

    if min(len(a), len(b)) < 2 or not np.isfinite(np.concatenate([a, b])).all():
        return dict.fromkeys(_DIFFERENCE, np.nan)
    if np.ptp(a) == np.ptp(b) == 0:  # without spread there is nothing to test by: they are equal, or they are not
        difference = float(b[0] - a[0])
        return dict(zip(_DIFFERENCE, (difference, difference, difference, float(difference == 0)), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # values almost without spread lose precision, and may
        found = scipy.stats.ttest_ind(b, a, equal_var=False)
        low, high = found.confidence_interval(CONFIDENCE)
    return dict(zip(_DIFFERENCE, map(float, (b.mean() - a.mean(), low, high, found.pvalue)), strict=True))


def only_in(side: Comparison, other: Comparison) -> list[str]:
    """Return what only one side has runs of: ``"bn/gn"``, or ``"bn/gn (batch_size 32)"`` where the other has some."""
    there = other.summary("train_loss").index
    lacking = side.summary("train_loss").index.difference(there, sort=False)
    known = set(there.get_level_values("ordering"))
    return list(dict.fromkeys(f"{name} ({condition})" if name in known else name for condition, name in lacking))


def _values(side: Comparison, place: tuple[str, str], measure: str) -> np.ndarray:
    condition, ordering = place
    runs = side.parts[condition]
    return runs.loc[runs["ordering"] == ordering, measure].to_numpy(float)
