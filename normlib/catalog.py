"""What exists, as plain data: data sets with their sizes and checksums, models with their slots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """Facts about a data set that are needed before it is loaded.

    Args:
        sizes: Number of examples of each split.
        image_shape: Shape of one image, ``[height, width]``.
        classes: Number of classes; labels are 0 to ``classes - 1``.
        sha256: SHA-256 of the bytes (C order) of each array in the file.
    """

    sizes: dict[str, int]
    image_shape: tuple[int, ...]
    classes: int
    sha256: dict[str, str]


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that are needed before it is built.

    Args:
        slot_channels: Number of channels at each slot, in data-flow order.
        groups: GroupNorm's number of groups unless the user sets one.
    """

    slot_channels: tuple[int, ...]
    groups: int


DATASETS = {
    "mnist": DataSet(
        sizes={"train": 60_000, "test": 10_000},
        image_shape=(28, 28),
        classes=10,
        sha256={
            "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        },
    ),
}

MODELS = {
    "source_cnn": ModelFacts(slot_channels=(10, 10), groups=5),
}

ACTIVATIONS = ("none", "relu")
