"""What records say: means with intervals, and which runs may be compared. SciPy has Student's t."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy.special

from normlib.analysis.conditions import Varies, check_varies, label, labels
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES, is_baseline
from normlib.runs.measures import MEASURES

CONFIDENCE = 0.95
# What has to be equal in all runs that are averaged or compared.
CONDITIONS = [field.name for field in dataclasses.fields(Instance) if field.name != "ordering"]
CONDITIONS += ["data", "threads", "stack"]


def order_orderings(orderings: pd.Series | list[str]) -> list[str]:
    """Return the distinct orderings as they are always shown: the source's in its order, others, the baseline last."""
    return sorted(set(orderings), key=lambda name: (is_baseline(name), [*SOURCE_INSTANCES, name].index(name), name))


def summarize(records: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Summarize one measure for each ordering.

    Args:
        records: One row a run that can be compared, see ``comparable_runs``.
        measure: A column of it, such as ``train_loss``.

    Returns:
        Indexed by ordering: ``runs``; ``mean``; ``sd``, the standard deviation over runs (divisor n - 1); ``low`` and
        ``high``, Student's t interval of the mean at 95 %. With one run the last three are NaN, and a NaN among the
        runs makes all of them NaN: a diverged run is not left out.
    """
    rows = {}
    for ordering in order_orderings(records["ordering"]):
        values = records.loc[records["ordering"] == ordering, measure]
        rows[ordering] = {"runs": len(values), **describe(values)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ordering")


def describe(values: pd.Series) -> dict[str, float]:
    """Return ``mean``, ``sd``, ``low`` and ``high`` of values as ``summarize`` does; NaN where there are too few."""
    values = values.astype(float)
    mean, sd = values.mean(skipna=False), values.std(skipna=False)
    reach = half_width(sd, len(values))
    return {"mean": mean, "sd": sd, "low": mean - reach, "high": mean + reach}


def follows_source(records: pd.DataFrame) -> bool:
    """Tell whether all but ordering and provider is as in the source, so that its figures can stand beside."""
    return all(
        (records[field.name].map(str) == str(field.default)).all()
        for field in dataclasses.fields(Instance)
        if field.name not in ("ordering", "provider")
    )


def comparable_runs(records: pd.DataFrame) -> pd.DataFrame:
    """Return runs that may be averaged; refuse those that differ in more than ordering and seed.

    A run has diverged if any of its figures is not finite, whatever the others say: all of them are then NaN.

    Args:
        records: One row a run.

    Raises:
        RequestError: There are no runs, one is there twice, or they differ; the setting and its values are named.
    """
    if records.empty:
        raise RequestError("records", "empty", "at least one run")
    for name in records.columns.intersection(CONDITIONS):
        values = sorted(set(map(str, records[name].unique())))
        if len(values) > 1:
            raise RequestError(
                "records", f"{name} of {' and '.join(values)}", problem=f"a comparison has one value of {name}"
            )
    for _, run in records[records.duplicated(["ordering", "seed"])].iterrows():
        problem = "a comparison has each run once; a column that tells these apart belongs in varies"
        raise RequestError("records", f"{run['ordering']}, seed {run['seed']}, twice", problem=problem)
    figures = records.columns.intersection(list(MEASURES))
    return records.assign(**records[figures].astype(float).mask(find_diverged(records)))


def split_records(records: pd.DataFrame, varies: Varies = ()) -> dict[str, pd.DataFrame]:
    """Keep runs of different conditions apart, and see that those of one can be compared.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies.

    Returns:
        The runs of each condition that has some, by its label, in the order in which the study varies them; where
        nothing varies, all of them, by the empty label. The figures of a diverged run are all NaN.

    Raises:
        RequestError: ``varies`` is not of its form, no runs, runs of a condition that the study does not have, or runs
            of one condition that differ in more than ordering and seed.
    """
    check_varies(varies, {})
    varied = [next(iter(group)) for group in varies]
    for name in varied:
        if name not in records:
            raise RequestError("varies", name, names=records.columns, problem="the records have no such column")
    runs = records[varied].to_dict("records") if varied else [{}] * len(records)
    found = pd.Series([label(run, varies) for run in runs], index=records.index, dtype=object)
    declared = labels(varies)
    for name in dict.fromkeys(found):
        if name not in declared:
            raise RequestError("records", name, f"of one of the conditions {'; '.join(declared)}", names=declared)
    parts = {name: records[found == name] for name in declared}
    return {name: comparable_runs(part) for name, part in parts.items() if len(part) or records.empty}


def find_diverged(records: pd.DataFrame) -> pd.Series:
    """Tell of each run whether it has diverged: whether any of its figures is not finite."""
    figures = records[records.columns.intersection(list(MEASURES))].astype(float)
    return ~np.isfinite(figures).all(axis=1)


def by_seed(records: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return a measure of one condition, seeds down and orderings across; NaN where a run is missing or diverged."""
    # pivot_table would average, and leave out an ordering that diverged throughout.
    return records.set_index(["seed", "ordering"])[measure].astype(float).unstack("ordering")  # noqa: PD010


def half_width(sd: Any, count: Any, outside: float = 1 - CONFIDENCE) -> Any:
    """Return half the width of Student's t interval of a mean.

    Args:
        sd: Standard deviation (divisor n - 1) of the values; a float, or an array of some.
        count: Number n of values; likewise.
        outside: Share of intervals that may miss the true mean.
    """
    return scipy.special.stdtrit(count - 1, 1 - outside / 2) * sd / np.sqrt(count)
