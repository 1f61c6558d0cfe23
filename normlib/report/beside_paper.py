"""A study beside a paper's figure: what both show along the setting that varies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.comparison import Comparison, as_comparison
from normlib.analysis.conditions import Varies, expand
from normlib.analysis.contrasts import Contrast, Term
from normlib.analysis.statistics import half_width, order_orderings
from normlib.errors import RequestError, checked
from normlib.models.ordering import find_baseline
from normlib.report import style
from normlib.studies.study import Paper


@checked
@style.in_style()
def plot_beside_paper(
    records: pd.DataFrame | Comparison,
    measure: str | None = None,
    varies: Varies | None = None,
    paper: Paper | None = None,
) -> tuple[style.Figure, np.ndarray]:
    """Draw a measure along the setting that a paper's figure goes along, and the paper's figure beside it.

    Runs are paired by seed, so differences are drawn: from the last line of the paper where it has several, which are
    drawn likewise; else from the baseline, beside the paper's figure as it is; without either, the measure itself.

    Args:
        records: One row a run, as ``load_records`` gives; or ``normlib.Results``, which know all else.
        measure: A column, such as ``eval_accuracy``, which is drawn as the error in percent.
        varies: What the study varies: one group of settings.
        paper: What the paper reports.

    Returns:
        The figure and its axes ``[2]``: the study's means, from four pairs on with Student's t intervals at 95 %, and
        the paper's numbers. The title of the first says where the change from one end to the other, of what the paper
        shows, opposes the paper's, or is not seen.

    Raises:
        RequestError: No paper stands beside these runs, or they do not vary what its figure goes along.
    """
    runs = as_comparison(records, measure=measure, varies=varies)
    paper = paper or getattr(getattr(records, "study", None), "reported", None)
    if paper is None:
        raise RequestError("paper", paper, problem="no paper's figures stand beside these runs")
    if [paper.against] != [next(iter(group)) for group in runs.varies]:
        allowed = "the first setting of the one group that the runs vary"
        raise RequestError("paper: against", paper.against, allowed)
    orderings, last = order_orderings(runs.records["ordering"]), list(paper.lines)[-1]
    reference = last if len(paper.lines) > 1 and last in orderings else find_baseline(orderings)
    ours = {ordering: _differences(runs, paper.against, ordering, reference) for ordering in orderings}
    theirs = pd.DataFrame(paper.lines).sort_index()
    theirs = theirs.sub(theirs[reference], axis=0) if reference in theirs else theirs
    shows = "The runs along the setting that varies, and the figures of a paper beside them"
    figure, (here, there) = style.subplots(1, 2, figsize=(9, 3.9), shows=shows)
    looks = style.line_styles([*orderings, *paper.lines])
    for number, (ordering, pairs) in enumerate(ours.items()):
        # Beside each other, so that intervals of the same value can be told apart.
        shift = 0.05 * (number - (len(ours) - 1) / 2) * (ordering != reference)
        means = np.array([part.mean(skipna=False) for part in pairs.values()])
        places, reach = np.log2(list(pairs)) + shift, [_reach(part) for part in pairs.values()]
        here.errorbar(places, means, reach, label=ordering, capsize=3, **looks[ordering])
    for ordering, line in theirs.items():
        there.plot(np.log2(line.dropna().index.to_numpy(float)), line.dropna(), label=ordering, **looks[ordering])
    less, both = f"\nminus that of {reference}", reference in theirs
    name = runs.measure.phrase.replace("accuracy", "error").split(",")[0]
    unit = "points" if reference else "%"
    unit = unit if runs.measure.figure == "accuracy" else runs.measure.unit.split(", ")[-1]
    _label(here, paper.against, next(iter(ours.values())), f"{name}{less * bool(reference)}, {unit}")
    _label(there, paper.against, theirs.index, f"error{less * both}, {'points' if both else '%'}")
    of_paper = reference if reference in theirs else None
    judged = {name: _differences(runs, paper.against, str(name), of_paper) for name in theirs if name in ours}
    trends = [_trend(curve, theirs[name].dropna(), str(name)) for name, curve in judged.items()]
    enough = any(len(pairs) >= style.FEWEST_FOR_INTERVAL for curve in ours.values() for pairs in curve.values())
    title = "here: means and 95 % intervals" if enough else "here: means"
    here.set_title("\n".join([title, *filter(None, trends)]), fontsize="small")
    there.set_title(textwrap.fill(paper.reports, 48), fontsize="small")
    style.legend_below(figure, columns=5)
    return style.Drawn(figure, np.array([here, there]))


def _differences(runs: Comparison, against: str, ordering: str, reference: str | None) -> dict[float, pd.Series]:
    """Return what is drawn of an ordering, by the values of the setting: a figure a seed."""
    terms = [Term(1, ordering), *([Term(-1, reference)] if reference else [])]
    contrast = Contrast(ordering, (ordering, reference or ""), tuple(terms))
    found = runs.paired_differences(runs.measure.column, [contrast])
    if runs.measure.figure == "accuracy":
        found = [100 * ((0 if reference else 1) - pairs) for pairs in found]
    return dict(zip((condition[against] for condition in expand(runs.varies)), found, strict=True))


def _reach(pairs: pd.Series) -> float:
    """Return how far the interval of a mean reaches; NaN, which draws nothing, below four pairs."""
    return half_width(pairs.std(skipna=False), len(pairs)) if len(pairs) >= style.FEWEST_FOR_INTERVAL else np.nan


def _trend(ours: dict[float, pd.Series], theirs: pd.Series, ordering: str) -> str:
    """Return whether an ordering's change from one end to the other opposes the paper's, or is not seen."""
    ends = [value for value in theirs.index if value in ours]
    change = (theirs[ends[-1]] - theirs[ends[0]]) if ends else 0
    if not change:
        return ""
    first, last = ours[ends[0]].align(ours[ends[-1]], join="inner")
    pairs = last - first
    mean, reach = pairs.mean(), _reach(pairs)  # NaN below four pairs, or where one diverged: then nothing is said
    if abs(mean) <= reach:
        return f"{ordering}: no trend is seen here"
    return f"{ordering}: the trend opposes the paper's" if abs(mean) > reach and mean * change < 0 else ""


def _label(axis: Axes, against: str, values: Sequence[float] | pd.Index, figure: str) -> None:
    """Label a log scale: batch sizes and numbers of groups are usually doubled from one to the next."""
    axis.set_xticks(np.log2(sorted(values)), [f"{value:g}" for value in sorted(values)])
    axis.set_xlabel(f"{against.replace('_', ' ')} (log scale)")
    axis.set_ylabel(figure)
    axis.grid(axis="y")
