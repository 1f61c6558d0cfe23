"""The moving-average gap of trained models: what each reading takes away, and whether a conclusion depends on it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from normlib.analysis.conditions import Varies, split_records
from normlib.analysis.contrasts import Contrast
from normlib.analysis.statistics import order_orderings, summarize
from normlib.analysis.verdicts import estimate
from normlib.models.ordering import has_batch_norm

GAP_PARTS = ("inference", "debiasing", "recalibration", "rest")
READING_COLUMNS = {"inference": "eval", "debiased": "debiased", "recalibrated": "recalibrated"}


def split_gap(records: pd.DataFrame, varies: Varies = ()) -> pd.DataFrame:
    """Split the evaluation loss, as Keras evaluates it, into what the moving averages add and the rest.

    ``inference = removed by debiasing + removed beyond by recalibration + rest``, run by run. A part is negative where
    the step makes the loss higher.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies besides the ordering.

    Returns:
        One row a condition and ordering that has BatchNorm: ``condition``, ``ordering``, ``runs``, and for each of
        ``inference``, ``debiasing``, ``recalibration`` and ``rest`` the mean over runs, and its Student's t interval at
        95 % as ``debiasing_low``, ``debiasing_high`` and so on.
    """
    rows = []
    for condition, part in split_records(records, varies).items():
        parts = part.assign(
            inference=part["eval_loss"],
            debiasing=part["eval_loss"] - part["debiased_loss"],
            recalibration=part["debiased_loss"] - part["recalibrated_loss"],
            rest=part["recalibrated_loss"],
        )
        summaries = {name: summarize(parts, name) for name in GAP_PARTS}
        for ordering in filter(has_batch_norm, order_orderings(part["ordering"])):
            row = {"condition": condition, "ordering": ordering, "runs": summaries["rest"].loc[ordering, "runs"]}
            for name, summary in summaries.items():
                row |= {name: summary.loc[ordering, "mean"]}
                row |= {f"{name}_{end}": summary.loc[ordering, end] for end in ("low", "high")}
            rows.append(row)
    return pd.DataFrame(rows)


def estimate_readings(
    records: pd.DataFrame, contrasts: Iterable[Contrast], measure: str, margin: float, varies: Varies = ()
) -> dict[str, pd.DataFrame]:
    """Estimate declared contrasts on the evaluation images in each reading.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrasts: The declared contrasts.
        measure: The study's measure; its end, loss or accuracy, decides what is compared.
        margin: The largest difference, either way, that does not matter.
        varies: What the study varies besides the ordering.

    Returns:
        What ``normlib.estimate`` gives, by reading.
    """
    contrasts = list(contrasts)
    kind = measure.split("_")[1]
    return {
        reading: estimate(records, contrasts, f"{column}_{kind}", margin, varies)
        for reading, column in READING_COLUMNS.items()
    }


def depends_on_reading(by_reading: dict[str, pd.DataFrame], margin: float) -> np.ndarray:
    """Return for each estimate whether what is concluded depends on the reading.

    It does where two readings decide differently, in verdict or direction, or where one decides, another does not, and
    the difference moves by more than the margin between them: Holm's correction alone can tip a verdict because of
    another contrast's p. It does also where some readings diverged and others did not.

    Args:
        by_reading: What ``estimate_readings`` gives.
        margin: The largest difference that does not matter.

    Returns:
        Booleans ``[estimates]``.
    """
    verdicts = np.stack([frame["verdict"].to_numpy(str) for frame in by_reading.values()])
    means = np.stack([frame["mean"].to_numpy(float) for frame in by_reading.values()])
    directions = np.where(np.char.startswith(verdicts, "differs"), np.where(means < 0, " lower", " higher"), "")
    # To differ negligibly and to be level are one conclusion: that the difference does not matter.
    small = np.isin(verdicts, ["level", "differs negligibly"])
    conclusions = np.where(small, "level", np.char.add(verdicts, directions))
    depends = []
    for said, mean in zip(conclusions.T, means.T, strict=True):
        decided = set(said) - {"undecided"}
        if np.isnan(mean).any():
            depends.append(not np.isnan(mean).all())
        else:
            depends.append(len(decided) > 1 or (len(set(said)) > 1 and np.ptp(mean) > margin))
    return np.array(depends, dtype=bool)
