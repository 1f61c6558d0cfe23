"""A comparison: runs of several orderings, what was declared of them, and all that follows, each computed once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from normlib.analysis.conditions import Varies, split_records
from normlib.analysis.rankings import winners
from normlib.analysis.statistics import summarize
from normlib.analysis.verdicts import Contrasts, check_margin, estimate_parts, read_contrasts
from normlib.models.ordering import has_batch_norm
from normlib.runs.measures import MEASURES, READINGS, find_measure

GAP_PARTS = ("inference", "debiasing", "recalibration", "rest")


class Comparison:
    """Runs, and what is asked of them. What is read from it is computed when it is first needed, and once.

    Args:
        records: One row a run, as ``normlib.load_records`` gives.
        contrasts: Declared differences, as text by name: ``{"order": "bn/gn - gn/bn"}``.
        measure: What they are about: a column, such as ``train_loss``.
        margin: The largest difference in it, either way, that does not matter.
        varies: Settings that vary besides the ordering, see ``normlib.Study``.

    Raises:
        RequestError: A contrast, measure or margin that is none, or runs that must not be compared.
    """

    def __init__(
        self,
        records: pd.DataFrame,
        contrasts: Contrasts = (),
        measure: str = "train_loss",
        margin: float = 0.01,
        varies: Varies = (),
    ):
        self.records, self.margin, self.varies = records, check_margin(margin), varies
        self.measure = find_measure(measure)
        self.parts = split_records(records, varies)  # the runs of each condition, by its label
        self.contrasts = read_contrasts(contrasts, records["ordering"].unique())
        self._summaries: dict[str, pd.DataFrame] = {}
        self._estimates: dict[str, pd.DataFrame] = {}

    @property
    def estimates(self) -> pd.DataFrame:
        """The declared contrasts with their verdicts, as ``normlib.estimate`` gives them."""
        return self._estimate(self.measure.column)

    @functools.cached_property
    def estimates_by_reading(self) -> dict[str, pd.DataFrame]:
        """The same on the evaluation images in each reading; empty where no contrast has BatchNorm in it."""
        compared = {ordering for contrast in self.contrasts for ordering in contrast.first + contrast.second}
        if not any(map(has_batch_norm, compared)):
            return {}
        return {reading: self._estimate(self.measure.in_reading(reading).column) for reading in READINGS}

    @functools.cached_property
    def reading_dependent(self) -> list[dict[str, pd.Series]]:
        """The estimates of which the conclusion depends on the reading: for each its row in every reading."""
        rows = zip(*(frame.iterrows() for frame in self.estimates_by_reading.values()), strict=True)
        by_reading = [dict(zip(READINGS, (row for _, row in readings), strict=True)) for readings in rows]
        return [rows for rows in by_reading if depends_on_reading(list(rows.values()), self.margin)]

    @functools.cached_property
    def winners(self) -> pd.DataFrame:
        """Which ordering has the best mean under each condition, see ``normlib.analysis.rankings.winners``."""
        return winners(self.parts, self.measure.column)

    @functools.cached_property
    def recalibrated_winners(self) -> pd.DataFrame:
        """The same with recalibrated statistics; that of the measure itself where it is one of training."""
        return (
            winners(self.parts, self.measure.in_reading("recalibrated").column)
            if self.measure.reading
            else self.winners
        )

    @functools.cached_property
    def gap(self) -> pd.DataFrame:
        """The evaluation loss, as Keras evaluates it, split into what the moving averages add and the rest.

        ``inference = removed by debiasing + removed beyond by recalibration + rest``, run by run. A part is negative
        where the step makes the loss higher. Indexed by condition and ordering, those that have BatchNorm; a column
        ``(part, figure)`` for each of the four parts and each figure of ``summarize``.
        """
        gaps = {}
        for condition, part in self.parts.items():
            runs = part[part["ordering"].map(has_batch_norm)]
            inference, debiased, recalibrated = (
                runs[MEASURES["eval_loss"].in_reading(reading).column] for reading in READINGS
            )
            split = (inference, inference - debiased, debiased - recalibrated, recalibrated)
            runs = runs.assign(**dict(zip(GAP_PARTS, split, strict=True)))
            if len(runs):
                gaps[condition] = pd.concat({name: summarize(runs, name) for name in GAP_PARTS}, axis=1)
        return pd.concat(gaps, names=["condition"]) if gaps else pd.DataFrame()

    def summary(self, measure: str) -> pd.DataFrame:
        """Return ``summarize`` of a measure, indexed by condition and ordering, in the order of both."""
        if measure not in self._summaries:
            parts = {condition: summarize(part, measure) for condition, part in self.parts.items()}
            self._summaries[measure] = pd.concat(parts, names=["condition"])
        return self._summaries[measure]

    def _estimate(self, measure: str) -> pd.DataFrame:
        if measure not in self._estimates:  # a measure of evaluation is that of one of the readings
            self._estimates[measure] = estimate_parts(self.parts, self.contrasts, measure, self.margin, self.varies)
        return self._estimates[measure]


def depends_on_reading(readings: Sequence[pd.Series], margin: float) -> bool:
    """Return whether what is concluded of a contrast depends on the reading.

    It does where two readings decide differently, in verdict or direction, or where one decides, another does not, and
    the difference moves by more than the margin between them: Holm's correction alone can tip a verdict because of
    another contrast's p. It does also where some readings diverged and others did not.

    Args:
        readings: The contrast's row of ``estimate`` in each reading.
        margin: The largest difference that does not matter.
    """
    means = np.array([row["mean"] for row in readings])
    if np.isnan(means).any():
        return not np.isnan(means).all()
    conclusions = {_conclusion(row) for row in readings}
    return len(conclusions - {"undecided"}) > 1 or (len(conclusions) > 1 and np.ptp(means) > margin)


def _conclusion(row: pd.Series) -> str:
    """Return the verdict with its direction; to differ negligibly and to be level are one: it does not matter."""
    if row["verdict"] == "differs":
        return "differs, lower" if row["mean"] < 0 else "differs, higher"
    return "undecided" if row["verdict"] == "undecided" else "level"


def as_comparison(
    records: pd.DataFrame | Comparison,
    contrasts: Contrasts | None = None,
    measure: str | None = None,
    margin: float | None = None,
    varies: Varies | None = None,
) -> Comparison:
    """Return runs as a comparison. None means the comparison's own, or, of a table of runs, the default.

    Args:
        records: One row a run, as ``normlib.load_records`` gives; or a comparison, such as ``normlib.Results``.
        contrasts: As ``Comparison`` takes it.
        measure: As ``Comparison`` takes it.
        margin: As ``Comparison`` takes it.
        varies: As ``Comparison`` takes it.
    """
    if isinstance(records, Comparison):
        if all(given is None for given in (contrasts, measure, margin, varies)):
            return records
        contrasts = records.contrasts if contrasts is None else contrasts
        measure, margin = measure or records.measure.column, records.margin if margin is None else margin
        records, varies = records.records, records.varies if varies is None else varies
    margin = 0.01 if margin is None else margin
    return Comparison(records, contrasts or (), measure or "train_loss", margin, varies or ())
