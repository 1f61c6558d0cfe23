"""Sentences about what was seen inside models while they were trained: diagnoses in, Markdown out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from normlib.analysis.statistics import order_orderings
from normlib.errors import RequestError

if TYPE_CHECKING:
    from normlib.runs.diagnosis import Diagnosis

    Diagnoses: TypeAlias = Diagnosis | Sequence[Diagnosis] | Mapping[str, Diagnosis]

# Figures of a single process, whose bits differ between processors, are written with five decimals, as in
# normlib.report.instance_tables.
_MEASURED = "{:.5f}".format


def label_diagnoses(diagnoses: Diagnoses) -> dict[str, Diagnosis]:
    """Return diagnoses by label, in the order in which orderings are shown everywhere.

    Args:
        diagnoses: One or several, labelled by their orderings, or a mapping from other labels.

    Raises:
        RequestError: None, or several of one ordering without labels.
    """
    if isinstance(diagnoses, Mapping):
        labelled = dict(diagnoses)
    else:
        several = list(diagnoses) if isinstance(diagnoses, Sequence) else [diagnoses]
        orderings = [diagnosis.record.instance["ordering"] for diagnosis in several]
        labelled = dict(zip(orderings, several, strict=True))
        if len(labelled) < len(orderings):
            allowed = "one an ordering, or a mapping from labels to diagnoses"
            raise RequestError("diagnoses", ", ".join(orderings), allowed)
    if not labelled:
        raise RequestError("diagnoses", "empty", "at least one")
    return {label: labelled[label] for label in order_orderings(list(labelled))}


def cosine_takeaway(diagnoses: Diagnoses) -> str:
    """Return how alike samples are where the first and the last slot end, as a sentence in Markdown."""
    values = _ends(diagnoses, "cosine similarity")
    said = [
        f"{_MEASURED(row['start', 'first'])} in the first slot and {_MEASURED(row['start', 'last'])} in the last one "
        f"({_MEASURED(row['end', 'last'])} after training) with **{label}**"
        for label, row in values.iterrows()
    ]
    most = _extreme(values["start", "last"], largest=True)
    ending = f"; in the last slot, samples are most alike with **{most}**" if most else ""
    return f"Before the first step, the mean cosine similarity is {', '.join(said)}{ending}."


def gradient_takeaway(diagnoses: Diagnoses) -> str:
    """Return the gradient norms of the first and the last layer, as a sentence in Markdown."""
    values = _ends(diagnoses, "gradient norm")
    said = [
        f"{_MEASURED(row['start', 'first'])} in the first layer and {_MEASURED(row['start', 'last'])} in the last one "
        f"({_MEASURED(row['end', 'first'])} and {_MEASURED(row['end', 'last'])} after training) with **{label}**"
        for label, row in values.iterrows()
    ]
    first = values["start", "first"]
    least = _extreme(first, largest=False)
    ratio = f"{_MEASURED(first.max() / first.min())} times smaller than the largest" if least else ""
    ending = f"; in the first layer it is least with **{least}**, {ratio}" if least else ""
    return f"Before the first step, the gradient's norm is {', '.join(said)}{ending}."


def moving_takeaway(diagnoses: Diagnoses) -> str:
    """Return how far moving averages are from the population, and what it costs, as a sentence in Markdown."""
    said = []
    for label, diagnosis in label_diagnoses(diagnoses).items():
        frame = diagnosis.frame
        last = frame[frame["step"] == frame["step"].max()]
        worst = last.groupby("quantity")["value"].max()
        if "moving mean distance" in worst:
            inference, recalibrated = (diagnosis.record.evaluation[r]["loss"] for r in ("inference", "recalibrated"))
            said.append(
                f"with **{label}**, a moving mean is up to {_MEASURED(worst['moving mean distance'])} of the "
                f"population's length away from it and a moving variance up to "
                f"{_MEASURED(worst['moving variance distance'])}; the evaluation loss is {_MEASURED(inference)} as "
                f"Keras evaluates and {_MEASURED(recalibrated)} with recalibrated statistics"
            )
    return f"After the last step, {', '.join(said)}." if said else "Without BatchNorm there are no moving averages."


def _ends(diagnoses: Diagnoses, quantity: str) -> pd.DataFrame:
    """Return a row a label: columns ``start`` and ``end`` of training, in each the ``first`` and the ``last`` place."""
    rows = {}
    for label, diagnosis in label_diagnoses(diagnoses).items():
        frame = diagnosis.frame[diagnosis.frame["quantity"] == quantity].sort_values(["step", "place"])
        steps = {"start": frame["step"] == frame["step"].min(), "end": frame["step"] == frame["step"].max()}
        rows[label] = {
            (when, which): frame.loc[at, "value"].iloc[position]
            for when, at in steps.items()
            for which, position in (("first", 0), ("last", -1))
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _extreme(values: pd.Series, largest: bool) -> str | None:
    """Return the label of the largest or least value, where there is something to compare."""
    values = values.dropna()
    return (values.idxmax() if largest else values.idxmin()) if len(values) > 1 else None
