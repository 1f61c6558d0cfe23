"""A small picture of what stands where in a model."""

from __future__ import annotations

import matplotlib.figure
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from normlib.instance import Instance

_COLOURS = {"bn": "#9CCBEB", "gn": "#FFD58A", "ln": "#A8DDB5", "in": "#E5B8D3"}
_PLAIN, _EMPTY = "#F2F2F2", "white"
_NAMES = {"bn": "BatchNorm", "gn": "GroupNorm", "ln": "LayerNorm", "in": "InstanceNorm"}


def plot_model(instance: Instance) -> tuple[matplotlib.figure.Figure, Axes]:
    """Draw the model from image to class, normalization in colour, empty slots dashed.

    Args:
        instance: The settings.

    Returns:
        The figure and its axes.
    """
    boxes = _boxes(instance)
    figure, axis = plt.subplots(figsize=(1.28 * len(boxes), 1.3))
    for place, (text, colour) in enumerate(boxes):
        empty = colour == _EMPTY
        axis.add_patch(
            FancyBboxPatch(
                (place + 0.12, 0.1),
                0.76,
                0.8,
                boxstyle="round,pad=0.03",
                facecolor=colour,
                edgecolor="#888888" if empty else "#333333",
                linestyle="--" if empty else "-",
            )
        )
        axis.text(place + 0.5, 0.5, text, ha="center", va="center", fontsize=8)
        if place:
            axis.annotate("", (place + 0.09, 0.5), (place - 0.09, 0.5), arrowprops={"arrowstyle": "->"})
    axis.set_xlim(0, len(boxes))
    axis.set_ylim(0, 1)
    axis.axis("off")
    figure.tight_layout(pad=0.2)
    return figure, axis


def _boxes(instance: Instance) -> list[tuple[str, str]]:
    """Return text and colour of each box, in data-flow order."""
    facts = instance.data_facts
    groups = instance.groups or instance.model_facts.groups
    boxes = [(f"image\n{' × '.join(map(str, facts.image_shape))}", _PLAIN)]
    for number, channels in enumerate(instance.model_facts.slot_channels, start=1):
        kinds = instance.layers.slots[number - 1]
        boxes.append((f"convolution {number}\n3 × 3,\n{channels} channels", _PLAIN))
        boxes += [(_describe(kind, channels, groups), _COLOURS[kind]) for kind in kinds]
        boxes += [] if kinds else [(f"slot {number}\nempty", _EMPTY)]
        boxes += [] if instance.activation == "none" else [({"relu": "ReLU"}[instance.activation], _PLAIN)]
    return [*boxes, ("dense 128\nReLU,\ndropout 0.2", _PLAIN), (f"dense {facts.classes}\nsoftmax", _PLAIN)]


def _describe(kind: str, channels: int, groups: int) -> str:
    if kind == "bn":
        return "BatchNorm"
    groups = {"gn": groups, "ln": 1, "in": channels}[kind]
    size = channels // groups
    plural = ("s" if groups > 1 else "", "s" if size > 1 else "")
    return f"{_NAMES[kind]}\n{groups} group{plural[0]} of\n{size} channel{plural[1]}"
