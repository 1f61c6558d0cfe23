"""Agreement: does a study that was run in two places, A and B, give the same figures? SciPy does the statistics.

A place is a stack, a processor, a device and a number of threads. Means of A and B are compared by Welch's interval
(Welch 1947, The generalization of "Student's" problem when several different population variances are involved,
Biometrika 34), which takes the runs of A for independent of those of B. With the same seed they are not quite: on both
stacks it gives the same batches and most of the same kernels, but other dropout masks. Where that makes runs alike, the
interval is wider than it need be: too much agrees, never too little.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import scipy.stats

from normlib.analysis.conditions import Varies, labels, split_records
from normlib.analysis.statistics import CONFIDENCE, MEASURES, order_orderings, summarize
from normlib.analysis.verdicts import Contrast, estimate, holm, paired_differences
from normlib.errors import one_of

FIGURES = ("train_loss", "train_accuracy", "eval_loss", "eval_accuracy")
PLACE = ("stack", "processor", "device", "threads")
_SUMMARY = ("runs", "mean", "low", "high")
_DIFFERENCE = ("difference", "low", "high", "p")


def agreement(
    records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies = (), measures: Iterable[str] = FIGURES
) -> pd.DataFrame:
    """Compare the figures that two sides of a study have in common.

    The verdict is that of each figure's own interval, so that the one can be seen in the other: among figures that are
    truly equal, up to one in twenty is said to differ. ``holm_p``, of Welch's test with Holm's correction over all
    rows, is below 0.05 for any of these in at most one comparison in twenty. *Agrees* says that no difference is seen,
    not that there is none; how large one may be, the interval tells.

    Args:
        records_a: One row a run, as ``load_records`` gives: side A.
        records_b: Side B.
        varies: What the study varies besides the ordering.
        measures: Columns, such as ``train_loss``.

    Returns:
        One row a condition, measure and ordering that both sides have: ``condition``, empty where nothing varies;
        ``ordering``; ``measure``; ``runs_a``, ``mean_a``, ``low_a``, ``high_a``, as ``summarize`` gives them with
        Student's t interval at 95 %, and the same of B; ``difference``, B's mean minus A's; ``low`` and ``high``, its
        Welch interval at 95 %; ``p`` and ``holm_p``; ``verdict``:

        - *agrees*: the interval holds zero;
        - *differs*: it does not;
        - *undecided*: there is none, since a side has a diverged run, or but one run.

    Raises:
        RequestError: A measure that there is not, or runs of one side that must not be averaged.
    """
    measures = list(measures)
    for measure in measures:
        one_of("measure", measure, MEASURES)
    parts_a, parts_b = split_records(records_a, varies), split_records(records_b, varies)
    rows = []
    for condition in (name for name in parts_a if name in parts_b):
        for measure in measures:
            sides = {"a": parts_a[condition], "b": parts_b[condition]}
            means = {side: summarize(part, measure) for side, part in sides.items()}
            for ordering in (name for name in means["a"].index if name in means["b"].index):
                values = (part.loc[part["ordering"] == ordering, measure].to_numpy(float) for part in sides.values())
                row = {"condition": condition, "ordering": ordering, "measure": measure}
                for side, summary in means.items():
                    row |= {f"{name}_{side}": summary.loc[ordering, name] for name in _SUMMARY}
                rows.append(row | welch(*values))
    columns = [f"{name}_{side}" for side in ("a", "b") for name in _SUMMARY]
    frame = pd.DataFrame(rows, columns=["condition", "ordering", "measure", *columns, *_DIFFERENCE])
    return _judge(frame.astype({"runs_a": int, "runs_b": int}))


def contrast_agreement(
    records_a: pd.DataFrame,
    records_b: pd.DataFrame,
    contrasts: Sequence[Contrast],
    measure: str,
    margin: float,
    varies: Varies = (),
) -> pd.DataFrame:
    """Compare what two sides of a study say of its declared contrasts.

    Within a side runs are paired by seed, and each contrast has its verdict in the whole family, see ``estimate``; then
    the differences of A's pairs are set against those of B's, as figures are by ``agreement``.

    Args:
        records_a: One row a run, as ``load_records`` gives: side A.
        records_b: Side B.
        contrasts: The declared contrasts.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter; in the measure's unit.
        varies: What the study varies besides the ordering.

    Returns:
        Indexed by the contrast's name: ``condition``; ``contrast``; ``pairs_a``, ``mean_a``, ``low_a``, ``high_a``,
        ``verdict_a``, and the same of B; ``same_verdict``, whether both are the same word and, where that is *differs*
        or *differs negligibly*, in the same direction, and false where a side has no pairs; ``difference``, ``low``,
        ``high``, ``p``, ``holm_p`` and ``verdict``, of B's estimate minus A's, as for ``agreement``. A contrast without
        pairs on a side stays in the family, and is *undecided*.

    Raises:
        RequestError: A measure that the records lack, or runs of one side that must not be compared.
    """
    sides = {"a": records_a, "b": records_b}
    estimates = {name: estimate(side, contrasts, measure, margin, varies) for name, side in sides.items()}
    parts = [split_records(side, varies) for side in sides.values()]
    frame = estimates["a"][["condition", "contrast"]].copy()
    for name, estimated in estimates.items():
        for column in ("pairs", "mean", "low", "high", "verdict"):
            frame[f"{column}_{name}"] = estimated[column]
    turned = np.sign(frame["mean_a"]) != np.sign(frame["mean_b"])
    same = (frame["verdict_a"] == frame["verdict_b"]) & ~(turned & frame["verdict_a"].str.startswith("differs"))
    frame["same_verdict"] = same & (frame[["pairs_a", "pairs_b"]] > 0).all(axis=1)
    found = [
        welch(*(_pairs(part.get(condition), contrast, measure) for part in parts))
        for condition in labels(varies)
        for contrast in contrasts
    ]
    for column in _DIFFERENCE:
        frame[column] = np.array([row[column] for row in found], float)
    return _judge(frame)


def welch(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Compare two means without taking the variances for equal (Welch 1947).

    Args:
        a: ``[n]``, float.
        b: ``[m]``, float.

    Returns:
        ``difference``, b's mean minus a's; ``low`` and ``high``, its interval at 95 %; ``p``, two-sided. All NaN where
        one has fewer than two values, or one that is not finite.
    """
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


def only_in(records: pd.DataFrame, others: pd.DataFrame, varies: Varies = ()) -> list[str]:
    """Return which orderings, and under which conditions, only the one side has runs of.

    Args:
        records: One row a run, as ``load_records`` gives: the one side.
        others: The other side.
        varies: What the study varies besides the ordering.

    Returns:
        ``"bn/gn"``, where the other side has no run of it at all, or ``"bn/gn (batch_size 32)"``.
    """
    there = {(name, ordering) for name, part in split_records(others, varies).items() for ordering in part["ordering"]}
    known = {ordering for _, ordering in there}
    lacking = [
        (ordering, condition)
        for condition, part in split_records(records, varies).items()
        for ordering in order_orderings(part["ordering"])
        if (condition, ordering) not in there
    ]
    names = (f"{ordering} ({condition})" if ordering in known else ordering for ordering, condition in lacking)
    return list(dict.fromkeys(names))


def is_same_place(records_a: pd.DataFrame, records_b: pd.DataFrame) -> bool:
    """Tell whether all runs of both sides come from one place, where the same seed gives the same bits."""
    return all(len({*records_a[name].map(str), *records_b[name].map(str)}) == 1 for name in PLACE)


def count_equal(records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies = ()) -> tuple[int, int]:
    """Return how many runs of the same condition, ordering and seed have the same figures to the bit, and of how many.

    Args:
        records_a: One row a run, as ``load_records`` gives: side A.
        records_b: Side B.
        varies: What the study varies besides the ordering.
    """
    same = ["ordering", "seed", *(next(iter(group)) for group in varies)]
    both = records_a.merge(records_b, on=same, suffixes=("_a", "_b"))
    # As text, in which a figure that is no number equals itself.
    equal = [(both[f"{name}_a"].map(repr) == both[f"{name}_b"].map(repr)).to_numpy() for name in MEASURES]
    return int(np.all(equal, axis=0).sum()), len(both)


def _judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p over all rows, and the verdict of each row's interval."""
    frame["holm_p"] = holm(frame["p"].to_numpy(float))
    holds_zero = (frame["low"] <= 0) & (frame["high"] >= 0)
    frame["verdict"] = np.select([frame["p"].isna(), holds_zero], ["undecided", "agrees"], default="differs")
    return frame


def _pairs(records: pd.DataFrame | None, contrast: Contrast, measure: str) -> np.ndarray:
    """Return the paired differences; none where the side lacks the condition."""
    return np.empty(0) if records is None else paired_differences(records, contrast, measure).to_numpy(float)
