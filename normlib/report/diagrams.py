"""A small picture of what stands where in a model."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from normlib.checks import checked
from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY
from normlib.report.boxes import boxes
from normlib.report.figures import Drawn, Figure, subplots


@checked
def plot_model(instance: Instance) -> tuple[Figure, Axes]:
    """Draw the model from image to class, normalization in colour, empty slots dashed.

    Args:
        instance: The settings.

    Returns:
        The figure and its axes.
    """
    found = boxes(instance)
    told = ", then ".join(box.text.replace("\n", " ") for box in found)
    figure, axis = subplots(shows=f"What stands where in the model: {told}", figsize=(1.28 * len(found), 1.3))
    for place, box in enumerate(found):
        empty = box.kind == EMPTY
        axis.add_patch(
            FancyBboxPatch(
                (place + 0.12, 0.1),
                0.76,
                0.8,
                boxstyle="round,pad=0.03",
                facecolor=box.colour,
                edgecolor="#888888" if empty else "#333333",
                linestyle="--" if empty else "-",
            )
        )
        axis.text(place + 0.5, 0.5, box.text, ha="center", va="center", fontsize=8)
        if place:
            axis.annotate("", (place + 0.09, 0.5), (place - 0.09, 0.5), arrowprops={"arrowstyle": "->"})
    axis.set_xlim(0, len(found))
    axis.set_ylim(0, 1)
    axis.axis("off")
    figure.tight_layout(pad=0.2)
    return Drawn(figure, axis)
