"""Scores: any table of one row a run, from whatever framework or spreadsheet, read as a table of runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from normlib.analysis.conditions import Varies
from normlib.analysis.contrasts import SIGNS
from normlib.errors import RequestError


def read_scores(frame: pd.DataFrame, measure: str, arm: str, seed: str, varies: Varies | Sequence[str]) -> pd.DataFrame:
    """Read a table of scores.

    Args:
        frame: One row a run.
        measure: The column of the score.
        arm: The column that names what is compared, such as ``model``.
        seed: The column by which runs are paired.
        varies: Further columns that tell conditions apart, by name or with their values.

    Returns:
        These columns alone, ``arm`` called ``ordering`` and ``seed`` called ``seed``; the score as float, NaN where a
        run diverged.

    Raises:
        RequestError: A column that there is not; a score that is no number; a row without arm, seed or condition; or a
            name that could not stand in a contrast.
    """
    varied = [name for group in varies for name in ([group] if isinstance(group, str) else group)]
    keys = [("arm", arm), ("seed", seed), *(("varies", name) for name in varied)]
    used = [arm, seed, *varied, measure]
    for setting, name in [*keys, ("measure", measure)]:
        if name not in frame.columns:
            raise RequestError(setting, name, f"one of the columns {', '.join(map(str, frame.columns))}", frame.columns)
        if used.count(name) > 1 or [*frame.columns].count(name) > 1:
            problem = "arm, seed, measure and what varies must be different columns, each there once"
            raise RequestError("a column", name, problem=problem)
        if name in ("ordering", "seed") and (name, setting) not in (("ordering", "arm"), ("seed", "seed")):
            problem = "the arm is called 'ordering' and the seed 'seed' in what follows: give this column another name"
            raise RequestError("a column", name, problem=problem)
    if frame.empty:
        raise RequestError("records", "empty", "at least one run")
    scores = frame[measure]
    kinds = pd.api.types
    if not kinds.is_numeric_dtype(scores) or kinds.is_bool_dtype(scores) or kinds.is_complex_dtype(scores):
        raise RequestError("measure", measure, "a column of real numbers")
    for setting, name in keys:
        if frame[name].isna().any():
            raise RequestError(setting, name, problem="a row has no value in it")
        if setting == "varies" and not all(isinstance(value, str | int | float) for value in frame[name].tolist()):
            raise RequestError("varies", name, "a column of texts or numbers")
    table = frame[used].rename(columns={arm: "ordering", seed: "seed"}).reset_index(drop=True)
    table = table.assign(ordering=table["ordering"].map(str).astype(object))
    for name in table["ordering"].unique():
        if not name.strip() or name != name.strip() or any(sign in name for sign in SIGNS):
            problem = "a name in a contrast has none of its signs: brackets, commas, ' - ' and ' at '"
            raise RequestError(f"a name in {arm}", name, problem=problem)
    return table.assign(**{measure: table[measure].astype(float).replace([np.inf, -np.inf], np.nan)})
