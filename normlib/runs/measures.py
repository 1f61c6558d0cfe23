"""Measures: what a run is measured by. One table, which everything else asks."""

from __future__ import annotations

from typing import NamedTuple

from normlib.errors import one_of


class Measure(NamedTuple):
    """A figure of a run.

    Args:
        column: What it is called in tables of runs.
        phrase: What people call it.
        figure: ``loss`` (cross-entropy in nats, lower is better) or ``accuracy`` (share of images, higher is better).
        reading: How the trained model is read for it on the evaluate split; empty: the running figure of the last
            epoch on the fit split.
    """

    column: str
    phrase: str
    figure: str
    reading: str = ""

    @property
    def lower_is_better(self) -> bool:
        """Whether the lower value is the better one."""
        return self.figure == "loss"

    @property
    def unit(self) -> str:
        """The unit, for axes."""
        return "cross-entropy, nats" if self.lower_is_better else "share of images"

    @property
    def panels(self) -> list[str]:
        """The accuracy and the loss of its reading, by their columns."""
        return sorted(m.column for m in MEASURES.values() if m.reading == self.reading)

    def in_reading(self, reading: str) -> Measure:
        """Return the same figure on the evaluate split in a reading."""
        return next(m for m in MEASURES.values() if (m.figure, m.reading) == (self.figure, reading))


MEASURES = {
    measure.column: measure
    for measure in (
        Measure("train_loss", "running training loss", "loss"),
        Measure("train_accuracy", "running training accuracy", "accuracy"),
        Measure("eval_loss", "evaluation loss", "loss", "inference"),
        Measure("eval_accuracy", "evaluation accuracy", "accuracy", "inference"),
        Measure("debiased_loss", "evaluation loss, debiased", "loss", "debiased"),
        Measure("debiased_accuracy", "evaluation accuracy, debiased", "accuracy", "debiased"),
        Measure("recalibrated_loss", "evaluation loss, recalibrated", "loss", "recalibrated"),
        Measure("recalibrated_accuracy", "evaluation accuracy, recalibrated", "accuracy", "recalibrated"),
    )
}
# Each reads the evaluate split with other statistics of BatchNorm, see normlib.models.readings.
READINGS = tuple(dict.fromkeys(measure.reading for measure in MEASURES.values() if measure.reading))
# The figures that tables and comparisons show: training, and evaluation as Keras evaluates.
MAIN_MEASURES = tuple(name for name, measure in MEASURES.items() if measure.reading in ("", "inference"))


def default_measure(follows_source: bool) -> str:
    """Return what is judged where nobody says: the source's running training loss, else evaluation accuracy."""
    return "train_loss" if follows_source else "eval_accuracy"


def find_measure(column: str) -> Measure:
    """Return a measure by its column.

    Raises:
        RequestError: There is none of that name.
    """
    one_of("measure", column, MEASURES)
    return MEASURES[column]
