"""Tables and figures of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.statistics import order_orderings
from normlib.errors import RequestError, checked
from normlib.models.ordering import is_baseline
from normlib.report.style import Drawn, Figure, styles, subplots

if TYPE_CHECKING:
    from normlib.runs.diagnose import Diagnosis

    Diagnoses: TypeAlias = Diagnosis | Sequence[Diagnosis] | Mapping[str, Diagnosis]

# Figures of a single process, whose bits differ between processors, are written with five decimals, as in
# normlib.report.tables.
_MEASURED = "{:.5f}".format


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
            allowed = "one an ordering, or a mapping from labels to diagnoses"
            raise RequestError("diagnoses", ", ".join(orderings), allowed)
    if not labelled:
        raise RequestError("diagnoses", "empty", "at least one")
    return {label: labelled[label] for label in order_orderings(list(labelled))}


def cosine_takeaway(diagnoses: Diagnoses) -> str:
    """Return how alike samples are where the first and the last slot end, as a sentence in Markdown."""
    values = _ends(diagnoses, "cosine similarity")
    said = [
        f"{_MEASURED(row['start', 'first'])} in the first slot and {_MEASURED(row['start', 'last'])} in the last one "
        f"({_MEASURED(row['end', 'last'])} after training) with **{label}**"
        for label, row in values.iterrows()
    ]
    most = _extreme(values["start", "last"], largest=True)
    ending = f"; in the last slot, samples are most alike with **{most}**" if most else ""
    return f"Before the first step, the mean cosine similarity is {', '.join(said)}{ending}."


def gradient_takeaway(diagnoses: Diagnoses) -> str:
    """Return the gradient norms of the first and the last layer, as a sentence in Markdown."""
    values = _ends(diagnoses, "gradient norm")
    said = [
        f"{_MEASURED(row['start', 'first'])} in the first layer and {_MEASURED(row['start', 'last'])} in the last one "
        f"({_MEASURED(row['end', 'first'])} and {_MEASURED(row['end', 'last'])} after training) with **{label}**"
        for label, row in values.iterrows()
    ]
    first = values["start", "first"]
    least = _extreme(first, largest=False)
    ratio = f"{_MEASURED(first.max() / first.min())} times smaller than the largest" if least else ""
    ending = f"; in the first layer it is least with **{least}**, {ratio}" if least else ""
    return f"Before the first step, the gradient's norm is {', '.join(said)}{ending}."


def moving_takeaway(diagnoses: Diagnoses) -> str:
    """Return how far moving averages are from the population, and what it costs, as a sentence in Markdown."""
    said = []
    for label, diagnosis in label_diagnoses(diagnoses).items():
        frame = diagnosis.frame
        last = frame[frame["step"] == frame["step"].max()]
        worst = last.groupby("quantity")["value"].max()
        if "moving mean distance" in worst:
            inference, recalibrated = (diagnosis.record.evaluation[r]["loss"] for r in ("inference", "recalibrated"))
            said.append(
                f"with **{label}**, a moving mean is up to {_MEASURED(worst['moving mean distance'])} of the "
                f"population's length away from it and a moving variance up to "
                f"{_MEASURED(worst['moving variance distance'])}; the evaluation loss is {_MEASURED(inference)} as "
                f"Keras evaluates and {_MEASURED(recalibrated)} with recalibrated statistics"
            )
    return f"After the last step, {', '.join(said)}." if said else "Without BatchNorm there are no moving averages."


def _ends(diagnoses: Diagnoses, quantity: str) -> pd.DataFrame:
    """Return a row a label: columns ``start`` and ``end`` of training, in each the ``first`` and the ``last`` place."""
    rows = {}
    for label, diagnosis in label_diagnoses(diagnoses).items():
        frame = diagnosis.frame[diagnosis.frame["quantity"] == quantity].sort_values(["step", "place"])
        steps = {"start": frame["step"] == frame["step"].min(), "end": frame["step"] == frame["step"].max()}
        rows[label] = {
            (when, which): frame.loc[at, "value"].iloc[position]
            for when, at in steps.items()
            for which, position in (("first", 0), ("last", -1))
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _extreme(values: pd.Series, largest: bool) -> str | None:
    """Return the label of the largest or least value, where there is something to compare."""
    values = values.dropna()
    return (values.idxmax() if largest else values.idxmin()) if len(values) > 1 else None


# What tells lines apart without colour.
_LOOKS = [("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"), ("--", "P"), ("-.", "X"), (":", "*")]
_MOST_COLUMNS = 5
_NOTHING = "no BatchNorm, so no moving averages"


@checked
def plot_cosine_similarity(diagnoses: Diagnoses) -> tuple[Figure, np.ndarray]:
    """Draw how alike different samples are where they leave each slot; a panel a slot, a line an ordering.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[slots]``.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    labels, frame = _select(diagnoses, "cosine similarity")
    figure, axes = _draw_panels(frame, labels, "slot {place}", "mean cosine similarity\nof two samples")
    for axis in axes:
        axis.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    return Drawn(figure, axes)


@checked
def plot_gradient_norms(diagnoses: Diagnoses) -> tuple[Figure, np.ndarray]:
    """Draw the norm of the loss' gradient by layer, on a log scale; a panel a layer, a line an ordering.

    Args:
        diagnoses: One, or several of one model: a list, labelled by ordering, or a mapping from labels.

    Returns:
        The figure and its axes ``[layers]``.

    Raises:
        RequestError: None, or several of one ordering in a list.
    """
    labels, frame = _select(diagnoses, "gradient norm")
    figure, axes = _draw_panels(frame, labels, "layer {place}: {layer}", "norm of the loss' gradient\n(log scale)")
    _scale_logarithmically(axes, frame["value"])
    return Drawn(figure, axes)


@checked
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
    labels, frame = _select(diagnoses, "moving mean distance", "moving variance distance")
    if frame.empty:
        figure, axis = subplots(figsize=(5, 0.8), layout="constrained", shows=_NOTHING)
        axis.text(0.5, 0.5, _NOTHING, ha="center", va="center")
        axis.set_axis_off()
        return Drawn(figure, np.array([axis]))
    figure, axes = _draw_panels(
        frame, labels, "moving {statistic}, slot {place}", "relative distance from the\npopulation's"
    )
    _scale_logarithmically(axes, frame["value"])
    return Drawn(figure, axes)


def _select(diagnoses: Diagnoses, *quantities: str) -> tuple[list[str], pd.DataFrame]:
    """Return all labels, and the figures of some quantities with their labels."""
    labelled = label_diagnoses(diagnoses)
    frame = pd.concat([diagnosis.frame.assign(label=label) for label, diagnosis in labelled.items()])
    return list(labelled), frame[frame["quantity"].isin(quantities)]


def _draw_panels(frame: pd.DataFrame, labels: list[str], title: str, unit: str) -> tuple[Figure, np.ndarray]:
    """Draw a panel a quantity and place, a line a label and layer, and the legend below; a quantity starts a row."""
    quantities, places = list(frame["quantity"].unique()), sorted(frame["place"].unique())
    columns = min(_MOST_COLUMNS, len(places))
    rows = -(-len(places) // columns)
    size = (max(4.5, 2.5 * columns + 0.6), 2.1 * rows * len(quantities) + 0.7)
    shared = True if len(quantities) == 1 else "row"
    figure, grid = subplots(
        rows * len(quantities), columns, figsize=size, squeeze=False, sharey=shared, layout="constrained",
        shows="Along the steps of training, a line an ordering, in each slot or layer",
    )  # fmt: skip
    look = _looks(labels)
    drawn: list[Axes] = []
    handles: dict = {}
    for quantity, part in zip(quantities, grid.reshape(len(quantities), -1), strict=True):
        for place, axis in zip(places, part, strict=False):
            panel = frame[(frame["quantity"] == quantity) & (frame["place"] == place)]
            _draw_lines(axis, panel, look)
            facts = {"place": place, "layer": panel["layer"].iloc[0], "statistic": quantity.split()[1]}
            _finish_panel(axis, title.format(**facts), frame["step"].max())
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            drawn.append(axis)
        for axis in part[len(places) :]:
            axis.set_visible(False)
    for axis in grid[:, 0]:
        axis.set_ylabel(unit, fontsize="small")
    handles = {label: handles[label] for label in look if label in handles}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return Drawn(figure, np.array(drawn))


def _looks(labels: list[str]) -> dict[str, dict]:
    """Return how the line of each label is drawn: the same in all figures of the same diagnoses."""
    looks = {}
    for i, (label, (colour, _)) in enumerate(styles(labels).items()):
        line, marker = _LOOKS[i % len(_LOOKS)]
        dark = "black" if is_baseline(label) else colour
        looks[label] = {"color": dark, "linestyle": line, "marker": marker, "markersize": 4.5, "linewidth": 1.4}
        looks[label] |= {"markeredgecolor": "black", "markeredgewidth": 0.5}
    return looks


def _draw_lines(axis: Axes, panel: pd.DataFrame, look: dict[str, dict]) -> None:
    for (label, _), line in panel.groupby(["label", "layer"]):
        axis.plot(line["step"], line["value"], label=label, **look[label])


def _finish_panel(axis: Axes, title: str, last: int) -> None:
    axis.set_title(title, fontsize="small", loc="left")
    # Zero has its place, and the first steps, in which most happens, have room.
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    axis.set_xlim(-0.2, last * 1.3)
    axis.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axis.set_xlabel("training steps")
    axis.grid(color="#EEEEEE")
    axis.spines[["top", "right"]].set_visible(False)


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
