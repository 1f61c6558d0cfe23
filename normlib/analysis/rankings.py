"""Rankings: which ordering comes first, and how often a single seed would have said so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from normlib.analysis.statistics import by_seed, comparable_runs, describe
from normlib.errors import checked, one_of
from normlib.models.ordering import find_baseline
from normlib.runs.measures import find_measure


@checked
def count_rankings(records: pd.DataFrame, measure: str, orderings: list[str] | None = None) -> pd.DataFrame:
    """Count how often a single seed would have given each ranking: the lottery of one run each.

    Args:
        records: One row a run, as ``load_records`` gives, of one condition.
        measure: A column, such as ``train_loss``; the lowest loss, or the highest accuracy, comes first.
        orderings: Those to rank; None: all.

    Returns:
        Indexed by the ranking, best first, such as ``"bn/none < gn/none"``, or ``"bn/none = gn/none"`` of equal
        figures: ``seeds``, the number of seeds that gave it, and ``share``, of those seeds with which all orderings
        were run and none diverged. The ranking that most seeds gave comes first.

    Raises:
        RequestError: No runs, runs that differ in more than ordering and seed, or an ordering that has none.
    """
    sign = " < " if find_measure(measure).lower_is_better else " > "
    values = _complete(records, measure, orderings)
    found = pd.Series([_ranking(row, sign) for _, row in values.iterrows()], dtype=object)
    seeds = found.value_counts().rename_axis("ranking").rename("seeds").to_frame()
    return seeds.assign(share=seeds["seeds"] / max(1, len(values)))


def places(records: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return, for each ordering, the share of seeds in which it took each place.

    Args:
        records: One row a run, as ``load_records`` gives, of one condition.
        measure: A column, such as ``train_loss``; the lowest loss, or the highest accuracy, takes the first place.

    Returns:
        Indexed by ordering, the one with the best mean first; a column a place, from 1. Those who tie share the better
        place. All zero where no seed has all runs.
    """
    values = _complete(records, measure)
    taken = values.rank(axis=1, method="min")
    shares = pd.DataFrame({place: (taken == place).mean() for place in range(1, len(values.columns) + 1)}).fillna(0)
    return shares.loc[values.mean().sort_values(kind="stable").index].rename_axis("ordering")


def winners(parts: Mapping[str, pd.DataFrame], measure: str) -> pd.DataFrame:
    """Return which ordering has the best mean under each condition, and how far it is ahead.

    Means are those of the bars, over all runs of an ordering; orderings with a diverged run do not win. Leads are
    paired by seed; their intervals (Student's t at 95 %) are of orderings chosen after looking, and not corrected.

    Args:
        parts: The runs of each condition, see ``split_records``.
        measure: A column, such as ``train_loss``.

    Returns:
        Indexed by condition, for those with two orderings or more: ``winner``; ``equals``, a list of others with the
        same mean; ``mean``; ``rival``, which has the next best mean; ``lead``, the mean paired difference in the
        winner's favour, with ``low``, ``high`` and ``pairs``; ``baseline``, and ``baseline_lead``, that over it;
        ``first``, the number of seeds with which the winner comes first, a tie counted for all that share it, of
        ``seeds`` with which all those orderings were run. NaN where
        there are no pairs.
    """
    rows = {}
    for condition, part in parts.items():
        finite = part.groupby("ordering")[measure].transform(lambda runs: np.isfinite(runs.astype(float)).all())
        better = _lower_is_better(part[finite], measure)
        if len(better.columns) < 2:
            continue
        # Rounded, so that equal means stay equal in whatever order they were added up.
        means = better.mean().round(12).sort_values(kind="stable")
        winner, rival = means.index[:2]
        leads = (better[rival] - better[winner]).dropna()
        lead = describe(leads)
        complete = better.dropna()
        baseline = find_baseline(better)
        rows[condition] = {
            "winner": winner,
            "equals": means.index[means == means[winner]].drop(winner).tolist(),
            "mean": part.loc[part["ordering"] == winner, measure].astype(float).mean(),
            "rival": rival,
            "lead": lead["mean"],
            "low": lead["low"],
            "high": lead["high"],
            "pairs": len(leads),
            "baseline": baseline,
            "baseline_lead": (better[baseline] - better[winner]).mean() if baseline else np.nan,
            "first": (complete[winner] == complete.min(axis=1)).sum(),
            "seeds": len(complete),
        }
    found = pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame(columns=["winner"])
    return found.rename_axis("condition")


def _ranking(values: pd.Series, sign: str) -> str:
    """Return orderings in the order of their values, the lowest first, equal ones as equal."""
    values = values.sort_values(kind="stable")
    signs = ["", *(" = " if tie else sign for tie in values.diff().iloc[1:] == 0)]
    return "".join(f"{before}{name}" for before, name in zip(signs, values.index, strict=True))


def _complete(records: pd.DataFrame, measure: str, orderings: list[str] | None = None) -> pd.DataFrame:
    """Return ``_lower_is_better`` for the seeds with which all were run and none diverged."""
    records = comparable_runs(records)
    if orderings is not None:
        for ordering in orderings:
            one_of("orderings", ordering, records["ordering"].unique())
        records = records[records["ordering"].isin(orderings)]
    values = _lower_is_better(records, measure)
    return values[np.isfinite(values).all(axis=1)]


def _lower_is_better(records: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the measure, seeds down and orderings across, with its sign turned where the higher value is better."""
    values = by_seed(records, measure)
    return values if find_measure(measure).lower_is_better else -values
