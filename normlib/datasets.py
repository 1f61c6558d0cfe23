"""Data sets: what there is, as plain data, and their splits in TensorFlow Datasets' notation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from normlib.errors import RequestError


@dataclass(frozen=True)
class DataSet:
    """Facts about a data set that are needed before it is loaded.

    Args:
        sizes: Number of examples of each split.
        image_shape: Shape of one image, ``[height, width]`` or ``[height, width, channels]``.
        classes: Number of classes; labels are 0 to ``classes - 1``.
        sha256: SHA-256 of the bytes (C order) of each array, by name; empty: known once the data are there.
        download: What Keras downloads, and so what to put into its folder of data sets where there is no network; empty
            where normlib ships the data, or a file holds them.
    """

    sizes: dict[str, int]
    image_shape: tuple[int, ...]
    classes: int
    sha256: dict[str, str]
    download: str = ""


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
    "fashion_mnist": DataSet(
        sizes={"train": 60_000, "test": 10_000},
        image_shape=(28, 28),
        classes=10,
        sha256={
            "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        },
        download="train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        "t10k-labels-idx1-ubyte.gz into fashion-mnist",
    ),
    "cifar10": DataSet(
        sizes={"train": 50_000, "test": 10_000},
        image_shape=(32, 32, 3),
        classes=10,
        sha256={},  # no copy of it was at hand when this was written; Keras checks the archive that it downloads
        download="cifar-10-python.tar.gz as cifar-10-batches-py.tar.gz (Keras 2) or "
        "cifar-10-batches-py-target_archive (Keras 3)",
    ),
}


def is_file(dataset: object) -> TypeGuard[str]:
    """Tell whether a data set is given as the path of an ``.npz`` file."""
    return isinstance(dataset, str) and dataset.endswith(".npz")


def recorded_name(dataset: object) -> object:
    """Return what a data set is called in records: a file by its name, so that no path of anybody's gets into them."""
    return re.split(r"[\\/]", dataset)[-1] if is_file(dataset) else dataset


_BOUND = r"-?\d[\d_]{0,11}%?"
_PATTERN = re.compile(rf"(?P<name>\w+)(\[(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?\])?", re.ASCII)


@dataclass(frozen=True)
class Split:
    """Examples ``start`` (included) to ``stop`` (excluded) of the split ``name``."""

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def overlap(self, other: Split) -> int:
        """Return the number of examples that are in both."""
        return max(0, min(self.stop, other.stop) - max(self.start, other.start)) if self.name == other.name else 0


def parse_split(text: str, sizes: Mapping[str, int], setting: str = "split") -> Split:
    """Read a slice of a split, such as ``train[:10000]``, of a data set with these numbers of examples.

    Raises:
        RequestError: Not of this form, a split that the data set lacks, bounds outside it, or no example at all.
    """
    first = next(iter(sizes))
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["name"] not in sizes:
        allowed = f"{' or '.join(sizes)}, or a slice such as {first}[:1000] or {first}[50%:]"
        raise RequestError(setting, text, allowed, names=sizes)
    size = sizes[match["name"]]
    start = _bound(match["start"], size, default=0)
    stop = _bound(match["stop"], size, default=size)
    if not 0 <= start < stop <= size:
        problem = f"a slice has to hold an example or more of the {size:,} that {match['name']} has"
        raise RequestError(setting, text, problem=problem)
    return Split(match["name"], start, stop)


def _bound(text: str | None, size: int, default: int) -> int:
    if text is None:
        return default
    bound = round(int(text[:-1]) * size / 100) if text.endswith("%") else int(text)
    return bound + size if text.startswith("-") else bound
