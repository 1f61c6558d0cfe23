"""Diagrams: what stands where in a model, and what each kind of normalization takes a mean over."""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from normlib.errors import RequestError, checked, whole_number
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY, KINDS, kind_of
from normlib.report.style import Drawn, Figure, Look, subplots

PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Box:
    """One thing in a model.

    Args:
        text: What it is, in short lines.
        kind: A kind of normalization, ``none`` for an empty slot, or ``plain``.
        skips: How many boxes before it a residual line passes that ends in it; 0: no line.
    """

    text: str
    kind: str = PLAIN
    skips: int = 0

    @property
    def colour(self) -> str:
        """Its tint; the text says what it means."""
        return {PLAIN: "#F2F2F2", EMPTY: "#FFFFFF"}.get(self.kind) or kind_of(self.kind).colour


def model_boxes(instance: Instance) -> list[Box]:
    """Return what stands where, in data-flow order, empty slots among it."""
    data, facts = instance.data_facts, instance.model_facts
    found = [Box(f"image\n{' × '.join(map(str, data.image_shape))}")]
    if facts.build is None:
        return [*found, *_own_model(instance)]
    if facts.has_tokens:
        found += [Box(facts.start), Box(f"{facts.blocks} {facts.layer}s\nof")]
    elif facts.blocks:
        found += [*_layer(instance, 1, facts.channels[:1]), Box(f"ReLU;\n{facts.blocks} blocks of")]
    before_block = len(found)
    activation = {"none": "", "relu": "ReLU"}[instance.activation]
    for slot, text in enumerate(facts.follows, start=1):
        channels = facts.channels if facts.blocks else (facts.channels[(slot - 1) % len(facts.channels)],)
        after = activation if text == zoo.ACTIVATION else text
        found += _layer(instance, slot, channels)
        skips = len(found) - before_block if after.startswith("+") else 0
        found += [Box(after, skips=skips)] if after else []
    if facts.has_tokens:
        last = zoo.last_kind(instance.layers.slots)
        found += [Box(f"at the end,\n{_describe(kind, facts.channels, instance)}", kind) for kind in last]
    return [*found, *([Box(facts.end)] if facts.end else []), Box(f"dense {data.classes}\nsoftmax")]


def _layer(instance: Instance, slot: int, channels: tuple[int, ...]) -> list[Box]:
    """Return the boxes of the layer before a slot, a 3 x 3 convolution or a dense one, and of what stands in it."""
    kinds, facts = instance.layers.slots[slot - 1], instance.model_facts
    name = facts.layer if facts.blocks else f"{facts.layer} {slot}"
    size = "3 × 3,\n" if facts.has_positions else ""
    numbers = ", ".join(map(str, channels)) + (" " if len(channels) == 1 else "\n")
    inside = [Box(_describe(kind, channels, instance), kind) for kind in kinds]
    before = [] if facts.has_tokens else [Box(f"{name}\n{size}{numbers}channels")]
    return [*before, *(inside or [Box(f"slot {slot}\nempty", EMPTY)])]


def _describe(kind: str, channels: tuple[int, ...], instance: Instance) -> str:
    number = kind_of(kind).groups
    if number is None:
        return kind_of(kind).name.replace(" of ", "\nof ")
    groups = [number(c, instance.groups_of(c)) for c in channels]
    sizes = [c // g for c, g in zip(channels, groups, strict=True)]
    return f"{kind_of(kind).name}\n{_count(groups, 'group')} of\n{_count(sizes, 'channel')}"


def _count(numbers: list[int], noun: str) -> str:
    return f"{', '.join(map(str, dict.fromkeys(numbers)))} {noun}{'s' if max(numbers) > 1 else ''}"


def _own_model(instance: Instance) -> list[Box]:
    module, _, function = instance.model.partition(":")
    found = [Box(f"{function}\nof {module.rpartition('.')[2]}:\nits BatchNorms")]
    for kinds in instance.layers.slots:
        found += [Box(kind_of(kind).name, kind) for kind in kinds] or [Box("none", EMPTY)]
    return [*found, *([Box("and so on,\nin turn")] if len(instance.layers.slots) > 1 else [])]


@checked
def plot_model(instance: Instance) -> tuple[Figure, Axes]:
    """Draw the model from image to class, normalization in colour, empty slots dashed, residual lines above.

    Args:
        instance: The settings.

    Returns:
        The figure and its axes.
    """
    found = model_boxes(instance)
    listed = ", then ".join(box.text.replace("\n", " ") for box in found)
    height = 1.3 if any(box.skips for box in found) else 1.0
    shows = f"What stands where in the model: {listed}"
    figure, axis = subplots(shows=shows, figsize=(1.28 * len(found), 1.3 * height))
    for place, box in enumerate(found):
        look = Look(edgecolor="#333333", facecolor=box.colour, boxstyle="round,pad=0.03")
        if box.kind == EMPTY:
            look |= {"edgecolor": "#888888", "linestyle": "--"}
        axis.add_patch(FancyBboxPatch((place + 0.12, 0.1), 0.76, 0.8, **look))
        axis.text(place + 0.5, 0.5, box.text, ha="center", va="center", fontsize=8)
        if box.skips:
            start, end = place - box.skips, place + 0.5
            axis.plot([start, start, end], [0.5, 1.18, 1.18], color="black", linewidth=1)
            axis.annotate("", (end, 0.93), (end, 1.18), arrowprops={"arrowstyle": "->", "shrinkA": 0})
        if place:
            axis.annotate("", (place + 0.09, 0.5), (place - 0.09, 0.5), arrowprops={"arrowstyle": "->"})
    axis.set_xlim(0, len(found))
    axis.set_ylim(0, height)
    axis.axis("off")
    figure.tight_layout(pad=0.2)
    return Drawn(figure, axis)


def plot_normalization_axes(images: int = 3, channels: int = 6, groups: int = 3) -> tuple[Figure, np.ndarray]:
    """Draw what shares a mean and a variance: images down, channels across, after Wu and He 2018, figure 2.

    A cell is one channel of one image, with all its positions. What lies within one border is normalized together; one
    such part is in colour.

    Args:
        images: Number of images of the batch.
        channels: Number of channels.
        groups: GroupNorm's number of groups; divides ``channels``.

    Returns:
        The figure and its axes ``[4]``: BatchNorm, GroupNorm, LayerNorm, InstanceNorm.

    Raises:
        RequestError: A number below one, or groups that do not divide the channels.
    """
    for name, value in {"images": images, "channels": channels, "groups": groups}.items():
        whole_number(name, value, minimum=1)
    if channels % groups:
        raise RequestError("groups", groups, f"a divisor of the {channels} channels")
    # Height and width of a part, in cells.
    parts = {"bn": (images, 1), "gn": (1, channels // groups), "ln": (1, channels), "in": (1, 1)}
    shows = "What shares a mean and a variance, images down and channels across: " + "; ".join(
        f"{KINDS[kind].name}, parts of {_count([height], 'image')} and {_count([width], 'channel')}"
        for kind, (height, width) in parts.items()
    )
    figure, axes = subplots(1, 4, figsize=(10.5, 2.1), sharey=True, layout="constrained", shows=shows)
    for axis, (kind, (height, width)) in zip(axes, parts.items(), strict=True):
        look = Look(facecolor=KINDS[kind].colour, hatch="//", edgecolor="#333333", linewidth=0)
        axis.add_patch(Rectangle((0, 0), width, height, **look))
        for x in range(channels + 1):
            axis.plot([x, x], [0, images], color="#333333", linewidth=0.4 if x % width else 2.2)
        for y in range(images + 1):
            axis.plot([0, channels], [y, y], color="#333333", linewidth=0.4 if y % height else 2.2)
        axis.set_title(
            f"{KINDS[kind].name}: {_count([images * channels // (height * width)], 'mean')}", fontsize="medium"
        )
        axis.set_xlabel("channel")
        axis.set_xticks(np.arange(channels) + 0.5, range(1, channels + 1))
        axis.set_yticks(np.arange(images) + 0.5, range(1, images + 1))
        axis.set_ylim(images, 0)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel("image")
    return Drawn(figure, axes)
