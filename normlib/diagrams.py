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
    image = (f"image\n{' × '.join(map(str, instance.data_facts.image_shape))}", _PLAIN)
    classes = (f"dense {instance.data_facts.classes}\nsoftmax", _PLAIN)
    inner = {"source_cnn": _source_cnn, "convnet": _convnet, "resnet20": _resnet20}.get(instance.model, _own_model)
    return [image, *inner(instance), *([] if inner is _own_model else [classes])]


def _source_cnn(instance: Instance) -> list[tuple[str, str]]:
    boxes = []
    for number in (1, 2):
        boxes += _convolution(f"convolution {number}", instance, number, [10])
        boxes += [] if instance.activation == "none" else [({"relu": "ReLU"}[instance.activation], _PLAIN)]
    return [*boxes, ("dense 128\nReLU,\ndropout 0.2", _PLAIN)]


def _convnet(instance: Instance) -> list[tuple[str, str]]:
    boxes = []
    for number in (1, 2, 3, 4):
        boxes += _convolution(f"convolution {number}", instance, number, [16])
        boxes.append(("ReLU" if number % 2 else "ReLU,\npooling", _PLAIN))
    return boxes


def _resnet20(instance: Instance) -> list[tuple[str, str]]:
    blocks = [16, 32, 64]
    return [
        *_convolution("convolution", instance, 1, [16]),
        ("ReLU;\n9 blocks of", _PLAIN),
        *_convolution("convolution", instance, 1, blocks),
        ("ReLU", _PLAIN),
        *_convolution("convolution", instance, 2, blocks),
        ("+ input\nof the block,\nReLU", _PLAIN),
        ("mean over\npositions", _PLAIN),
    ]


def _own_model(instance: Instance) -> list[tuple[str, str]]:
    module, _, function = instance.model.partition(":")
    boxes = [(f"{function}\nof {module.rpartition('.')[2]}:\nits BatchNorms", _PLAIN)]
    for kinds in instance.layers.slots:
        boxes += [(_NAMES[kind], _COLOURS[kind]) for kind in kinds] or [("none", _EMPTY)]
    return [*boxes, *([("and so on,\nin turn", _PLAIN)] if len(instance.layers.slots) > 1 else [])]


def _convolution(name: str, instance: Instance, slot: int, channels: list[int]) -> list[tuple[str, str]]:
    """Return the boxes of a 3 x 3 convolution and of what stands in its slot."""
    kinds = instance.layers.slots[slot - 1]
    numbers = ", ".join(map(str, channels))
    space = " " if len(channels) == 1 else "\n"
    boxes = [(f"{name}\n3 × 3,\n{numbers}{space}channels", _PLAIN)]
    boxes += [(_describe(kind, channels, instance), _COLOURS[kind]) for kind in kinds]
    return boxes + ([] if kinds else [(f"slot {slot}\nempty", _EMPTY)])


def _describe(kind: str, channels: list[int], instance: Instance) -> str:
    if kind == "bn":
        return "BatchNorm"
    groups = [{"gn": instance.groups_of(c), "ln": 1, "in": c}[kind] for c in channels]
    sizes = [c // g for c, g in zip(channels, groups, strict=True)]
    numbers = [", ".join(map(str, dict.fromkeys(values))) for values in (groups, sizes)]
    plural = ("s" if max(groups) > 1 else "", "s" if max(sizes) > 1 else "")
    return f"{_NAMES[kind]}\n{numbers[0]} group{plural[0]} of\n{numbers[1]} channel{plural[1]}"
