"""Boxes: what stands where in a model, from image to class, for pictures of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY, KINDS

PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Box:
    """One thing in a model.

    Args:
        text: What it is, in short lines.
        kind: A kind of normalization, ``none`` for an empty slot, or ``plain``.
    """

    text: str
    kind: str = PLAIN

    @property
    def colour(self) -> str:
        """Its tint; the text says what it means."""
        return KINDS[self.kind].colour if self.kind in KINDS else {PLAIN: "#F2F2F2", EMPTY: "#FFFFFF"}[self.kind]


def boxes(instance: Instance) -> list[Box]:
    """Return what stands where, in data-flow order, empty slots among it.

    Args:
        instance: The settings.
    """
    image = Box(f"image\n{' × '.join(map(str, instance.data_facts.image_shape))}")
    classes = Box(f"dense {instance.data_facts.classes}\nsoftmax")
    inner: Callable[[Instance], list[Box]]
    inner = {"source_cnn": _source_cnn, "convnet": _convnet, "resnet20": _resnet20}.get(instance.model, _own_model)
    return [image, *inner(instance), *([] if inner is _own_model else [classes])]


def _source_cnn(instance: Instance) -> list[Box]:
    found = []
    for number in (1, 2):
        found += _convolution(f"convolution {number}", instance, number, [10])
        found += [] if instance.activation == "none" else [Box("ReLU")]
    return [*found, Box("dense 128\nReLU,\ndropout 0.2")]


def _convnet(instance: Instance) -> list[Box]:
    found = []
    for number in (1, 2, 3, 4):
        found += _convolution(f"convolution {number}", instance, number, [16])
        found.append(Box("ReLU" if number % 2 else "ReLU,\npooling"))
    return found


def _resnet20(instance: Instance) -> list[Box]:
    blocks = [16, 32, 64]
    return [
        *_convolution("convolution", instance, 1, [16]),
        Box("ReLU;\n9 blocks of"),
        *_convolution("convolution", instance, 1, blocks),
        Box("ReLU"),
        *_convolution("convolution", instance, 2, blocks),
        Box("+ input\nof the block,\nReLU"),
        Box("mean over\npositions"),
    ]


def _own_model(instance: Instance) -> list[Box]:
    module, _, function = instance.model.partition(":")
    found = [Box(f"{function}\nof {module.rpartition('.')[2]}:\nits BatchNorms")]
    for kinds in instance.layers.slots:
        found += [Box(KINDS[kind].name, kind) for kind in kinds] or [Box("none", EMPTY)]
    return [*found, *([Box("and so on,\nin turn")] if len(instance.layers.slots) > 1 else [])]


def _convolution(name: str, instance: Instance, slot: int, channels: list[int]) -> list[Box]:
    """Return the boxes of a 3 x 3 convolution and of what stands in its slot."""
    kinds = instance.layers.slots[slot - 1]
    numbers = ", ".join(map(str, channels))
    space = " " if len(channels) == 1 else "\n"
    found = [Box(f"{name}\n3 × 3,\n{numbers}{space}channels")]
    found += [Box(_describe(kind, channels, instance), kind) for kind in kinds]
    return found + ([] if kinds else [Box(f"slot {slot}\nempty", EMPTY)])


def _describe(kind: str, channels: list[int], instance: Instance) -> str:
    number = KINDS[kind].groups
    if number is None:
        return KINDS[kind].name
    groups = [number(c, instance.groups_of(c)) for c in channels]
    sizes = [c // g for c, g in zip(channels, groups, strict=True)]
    numbers = [", ".join(map(str, dict.fromkeys(values))) for values in (groups, sizes)]
    plural = ("s" if max(groups) > 1 else "", "s" if max(sizes) > 1 else "")
    return f"{KINDS[kind].name}\n{numbers[0]} group{plural[0]} of\n{numbers[1]} channel{plural[1]}"
