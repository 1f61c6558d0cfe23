"""A picture of what each kind of normalization takes its mean and variance over."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from normlib.checks import whole_number
from normlib.errors import RequestError
from normlib.models.kinds import KINDS
from normlib.report.figures import Drawn, Figure, subplots


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
    for name, value in (("images", images), ("channels", channels), ("groups", groups)):
        whole_number(name, value, minimum=1)
    if channels % groups:
        raise RequestError("groups", groups, f"a divisor of the {channels} channels")
    # Height and width of a part, in cells.
    parts = {"bn": (images, 1), "gn": (1, channels // groups), "ln": (1, channels), "in": (1, 1)}
    shows = "What shares a mean and a variance, images down and channels across: " + "; ".join(
        f"{KINDS[kind].name}, parts of {height} image{'s' * (height > 1)} and {width} channel{'s' * (width > 1)}"
        for kind, (height, width) in parts.items()
    )
    figure, axes = subplots(1, 4, figsize=(10.5, 2.1), sharey=True, layout="constrained", shows=shows)
    for axis, (kind, part) in zip(axes, parts.items(), strict=True):
        _draw_parts(axis, images, channels, part, KINDS[kind].colour)
        count = images * channels // (part[0] * part[1])
        axis.set_title(f"{KINDS[kind].name}: {count} mean{'s' * (count > 1)}", fontsize="medium")
        axis.set_xlabel("channel")
    axes[0].set_ylabel("image")
    return Drawn(figure, axes)


def _draw_parts(axis: Axes, images: int, channels: int, part: tuple[int, int], colour: str) -> None:
    height, width = part
    axis.add_patch(Rectangle((0, 0), width, height, facecolor=colour, hatch="//", edgecolor="#333333", linewidth=0))
    for x in range(channels + 1):
        axis.plot([x, x], [0, images], color="#333333", linewidth=0.4 if x % width else 2.2)
    for y in range(images + 1):
        axis.plot([0, channels], [y, y], color="#333333", linewidth=0.4 if y % height else 2.2)
    axis.set_xticks(np.arange(channels) + 0.5, [str(channel) for channel in range(1, channels + 1)])
    axis.set_yticks(np.arange(images) + 0.5, [str(image) for image in range(1, images + 1)])
    axis.set_ylim(images, 0)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
