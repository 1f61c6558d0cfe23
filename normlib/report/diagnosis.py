"""Figures of diagnoses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import matplotlib.ticker
import numpy as np
import pandas as pd

from normlib.analysis.statistics import order_orderings
from normlib.errors import RequestError, checked
from normlib.report.style import Drawn, Figure, in_style, legend_below, line_styles, panels, subplots

if TYPE_CHECKING:
    from normlib.runs.diagnose import Diagnosis

    Diagnoses: TypeAlias = Diagnosis | Sequence[Diagnosis] | Mapping[str, Diagnosis]

_NOTHING = "no BatchNorm, so no moving averages"


def label_diagnoses(diagnoses: Diagnoses) -> dict[str, Diagnosis]:
    """Return diagnoses by label, in the order in which orderings are shown everywhere.

    Args:
        diagnoses: One or several, labelled by their orderings, or a mapping from other labels.

    Raises:
        RequestError: None, or several of one ordering without labels.
    """
    if isinstance(diagnoses, Mapping):
        labelled = dict(diagnoses)
    else:
        several = list(diagnoses) if isinstance(diagnoses, Sequence) else [diagnoses]
        orderings = [diagnosis.record.ordering for diagnosis in several]
        labelled = dict(zip(orderings, several, strict=True))
        if len(labelled) < len(orderings):
            allowed = "one of each ordering, or a mapping from labels to diagnoses"
            raise RequestError("diagnoses", ", ".join(orderings), allowed)
    if not labelled:
        raise RequestError("diagnoses", "empty", "one or more")
    return {label: labelled[label] for label in order_orderings(list(labelled))}


@checked
@in_style()
def plot_cosine_similarity(diagnoses: Diagnoses) -> tuple[Figure, np.ndarray]:
    """Draw how alike different samples are where they leave each slot; a panel a slot, a line an ordering.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[slots]``.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    frame = _select(diagnoses, "cosine similarity")
    figure, axes = _draw_panels(frame, "slot {place}", "mean cosine similarity\nof two samples")
    for axis in axes:
        axis.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    return Drawn(figure, axes)


@checked
@in_style()
def plot_gradient_norms(diagnoses: Diagnoses) -> tuple[Figure, np.ndarray]:
    """Draw the norm of the loss' gradient by layer, on a log scale; a panel a layer, a line an ordering.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[layers]``.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    frame = _select(diagnoses, "gradient norm")
    figure, axes = _draw_panels(frame, "layer {place}: {layer}", "norm of the loss' gradient\n(log scale)")
    _scale_logarithmically(axes, frame["value"])
    return Drawn(figure, axes)


@checked
@in_style()
def plot_moving_statistics(diagnoses: Diagnoses) -> tuple[Figure, np.ndarray]:
    """Draw how far BatchNorm's moving averages are from the population's statistics, on a log scale.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[2 * slots]``: the mean in each slot with BatchNorm, then the variance. Where no
        diagnosis has BatchNorm, one that says so.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    frame = _select(diagnoses, "moving mean distance", "moving variance distance")
    if frame.empty:
        figure, axis = subplots(figsize=(5, 0.8), shows=_NOTHING)
        axis.text(0.5, 0.5, _NOTHING, ha="center", va="center")
        axis.set_axis_off()
        return Drawn(figure, np.array([axis]))
    unit = "relative distance from the\npopulation's (log scale)"
    figure, axes = _draw_panels(frame, "moving {statistic}, slot {place}", unit)
    _scale_logarithmically(axes, frame["value"])
    return Drawn(figure, axes)


def _select(diagnoses: Diagnoses, *quantities: str) -> pd.DataFrame:
    """Return the figures of some quantities, with the labels of their diagnoses as an ordered category."""
    labelled = label_diagnoses(diagnoses)
    frame = pd.concat([diagnosis.frame.assign(label=label) for label, diagnosis in labelled.items()])
    frame["label"] = pd.Categorical(frame["label"], list(labelled), ordered=True)
    return frame[frame["quantity"].isin(quantities)]


def _draw_panels(frame: pd.DataFrame, title: str, unit: str) -> tuple[Figure, np.ndarray]:
    """Draw a panel a quantity and place, a line a label and layer, and the legend below."""
    looks = line_styles(list(frame["label"].cat.categories))
    groups = list(frame.groupby(["quantity", "place"]))
    shows = "Along the steps of training, a line an ordering, in each slot or layer"
    columns = min(5, frame["place"].nunique())
    figure, axes = panels(len(groups), columns, (max(2.6, 4.5 / columns), 2.3), shows, sharey=True)
    for axis, ((quantity, place), panel) in zip(axes, groups, strict=True):
        for (label, _), line in panel.groupby(["label", "layer"], observed=True):
            axis.plot(line["step"], line["value"], label=label, **looks[label])
        facts = {"place": place, "layer": panel["layer"].iloc[0], "statistic": quantity.split()[1]}
        axis.set_title(title.format(**facts), fontsize="small")
        # Zero has its place, and the first steps, in which most happens, have room.
        axis.set_xscale("symlog", linthresh=1, linscale=0.5)
        axis.set_xlim(-0.2, frame["step"].max() * 1.3)
        axis.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
        axis.set_xlabel("training steps")
        axis.grid()
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel(unit, fontsize="small")
    legend_below(figure, columns=4)
    return Drawn(figure, axes)


def _scale_logarithmically(axes: np.ndarray, values: pd.Series) -> None:
    if not (values[np.isfinite(values)] > 0).any():
        return  # a diverged run may leave nothing to scale by
    for axis in axes:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        low, high = axis.get_ylim()
        short = "{x:g}" if high < 2 * low else _label_some
        axis.yaxis.set_minor_formatter(short if high < 10 * low else matplotlib.ticker.NullFormatter())


def _label_some(value: float, _: int) -> str:
    """Label 2, 4 and 6 on a log scale that is too short for powers of ten alone."""
    return f"{value:g}" if f"{value:e}"[0] in "246" else ""
