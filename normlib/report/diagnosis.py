"""Figures of diagnoses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import matplotlib.ticker
import numpy as np
import pandas as pd

from normlib.analysis.statistics import order_orderings
from normlib.errors import RequestError, checked
from normlib.report import style

if TYPE_CHECKING:
    from normlib.runs.diagnose import Diagnosis

    Diagnoses: TypeAlias = Diagnosis | Sequence[Diagnosis] | Mapping[str, Diagnosis]

_NOTHING = "no BatchNorm, so no moving averages"


@checked
@style.in_style()
def plot_cosine_similarity(diagnoses: Diagnoses) -> tuple[style.Figure, np.ndarray]:
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
    return style.Drawn(figure, axes)


@checked
@style.in_style()
def plot_gradient_norms(diagnoses: Diagnoses) -> tuple[style.Figure, np.ndarray]:
    """Draw the norm of the loss' gradient by layer, on a log scale; a panel a layer, a line an ordering.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[layers]``.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    frame = _select(diagnoses, "gradient norm")
    unit = "norm of the loss' gradient\n(log scale)"
    return style.Drawn(*_draw_panels(frame, "layer {place}: {layer}", unit, log=True))


@checked
@style.in_style()
def plot_moving_statistics(diagnoses: Diagnoses) -> tuple[style.Figure, np.ndarray]:
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
        figure, axis = style.subplots(figsize=(5, 0.8), shows=_NOTHING)
        axis.text(0.5, 0.5, _NOTHING, ha="center", va="center")
        axis.set_axis_off()
        return style.Drawn(figure, np.array([axis]))
    unit = "relative distance from the\npopulation's (log scale)"
    return style.Drawn(*_draw_panels(frame, "moving {statistic}, slot {place}", unit, log=True))


def _select(diagnoses: Diagnoses, *quantities: str) -> pd.DataFrame:
    """Return the figures of some quantities, with the labels of their diagnoses as a category, in the usual order.

    Raises:
        RequestError: No diagnosis, or several of one ordering without labels.
    """
    if not isinstance(diagnoses, Mapping):
        several = list(diagnoses) if isinstance(diagnoses, Sequence) else [diagnoses]
        orderings = [diagnosis.record.ordering for diagnosis in several]
        if len({*orderings}) < len(orderings):
            allowed = "one of each ordering, or a mapping from labels to diagnoses"
            raise RequestError("diagnoses", ", ".join(orderings), allowed)
        diagnoses = dict(zip(orderings, several, strict=True))
    if not diagnoses:
        raise RequestError("diagnoses", "empty", "one or more")
    frame = pd.concat([diagnosis.frame.assign(label=label) for label, diagnosis in diagnoses.items()])
    frame["label"] = pd.Categorical(frame["label"], order_orderings([*diagnoses]))
    return frame[frame["quantity"].isin(quantities)]


def _draw_panels(frame: pd.DataFrame, title: str, unit: str, log: bool = False) -> tuple[style.Figure, np.ndarray]:
    """Draw a panel a quantity and place, a line a label and layer, and the legend below."""
    looks = style.line_styles(list(frame["label"].cat.categories))
    groups = list(frame.groupby(["quantity", "place"]))
    shows = "Along the steps of training, a line an ordering, in each slot or layer"
    columns = min(5, frame["place"].nunique())
    figure, axes = style.panels(len(groups), columns, (max(2.6, 4.5 / columns), 2.3), shows, sharey=True)
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
    style.legend_below(figure, columns=4)
    if log and ((frame["value"] > 0) & (frame["value"] < np.inf)).any():  # a diverged run may leave nothing to scale by
        for axis in axes:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            low, high = axis.get_ylim()
            short = "{x:g}" if high < 2 * low else _label_some
            axis.yaxis.set_minor_formatter(short if high < 10 * low else matplotlib.ticker.NullFormatter())
    return figure, axes


def _label_some(value: float, _: int) -> str:
    """Label 2, 4 and 6 on a log scale that is too short for powers of ten alone."""
    return f"{value:g}" if f"{value:e}"[0] in "246" else ""
