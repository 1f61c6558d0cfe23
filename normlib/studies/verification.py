"""Verification: train kept runs again, and say of each whether it gives what was kept."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import numpy as np
import pandas as pd

from normlib.analysis.statistics import half_width
from normlib.errors import RequestError, whole_number
from normlib.models.instance import Instance
from normlib.runs.measures import MAIN_MEASURES
from normlib.runs.progress import Progress
from normlib.runs.store import KEPT, Record, read_records, to_frame
from normlib.runs.train import train
from normlib.studies.results import kept_studies

EQUAL = "equal to the bit"
INSIDE = "inside the study's spread"
OUTSIDE = "outside the study's spread"
_CONFIDENCE = 0.999  # so that one run in a thousand is called outside by chance, for each figure
_RESULTS = ("training", "curve", "evaluation")


def verify(study: str = "source", runs: int = 3) -> pd.DataFrame:
    """Train some kept runs of a study again, drawn at random, in this process.

    Args:
        study: Name of a study whose records ship with normlib.
        runs: Number of runs to train, at most as many as there are.

    Returns:
        One row a run: ``ordering``; ``seed``; ``settings``, those that differ from the defaults; ``kept_loss`` and
        ``loss``, of training; ``same_place``, whether stack, processor, threads and oneDNN's setting are those of the
        kept run; and ``verdict``: *equal to the bit*, where all figures are; else *inside the study's spread*, where
        each lies in the interval that holds 99.9 % of further runs of the same instance (Student's t), or *outside* it.

    Raises:
        RequestError: A study without kept records, or a wrong number of runs.
    """
    if study not in kept_studies():
        allowed = f"one of {', '.join(kept_studies())}, whose records are kept"
        raise RequestError("study", study, allowed, names=kept_studies())
    kept = read_records(KEPT / f"{study}.jsonl")
    whole_number("runs", runs, minimum=1)
    if runs > len(kept):
        raise RequestError("runs", runs, problem=f"only {len(kept)} runs of {study} are kept")
    rows = []
    with Progress(runs, "verifying") as progress:
        for record in random.sample(kept, runs):
            # "auto" takes the provider of this stack, which need not be that of the kept run.
            instance = Instance.from_settings(**{**record.instance, "provider": "auto"})
            again = train(instance, record.seed, record.environment["threads"], live=progress.live)
            then, now = record.row(), again.row()
            place = [*(then[name] == now[name] for name in ("stack", "processor", "threads"))]
            place.append(record.environment["onednn"] == again.environment["onednn"])
            row = {
                "ordering": then["ordering"],
                "seed": then["seed"],
                "settings": ", ".join(f"{name} {v}" for name, v in instance.changes.items() if name != "ordering"),
                "kept_loss": then["train_loss"],
                "loss": now["train_loss"],
                "same_place": all(place),
                "verdict": judge(record, again, kept),
            }
            rows.append(row)
            progress.advance(f"{record.instance['ordering']}, seed {record.seed}: {row['verdict']}")
    return pd.DataFrame(rows)


def conclude(found: pd.DataFrame) -> str:
    """Return how many runs of those that ``verify`` gives have which verdict, and when they have to be equal."""
    counts = ", ".join(f"{(found['verdict'] == verdict).sum()} {verdict}" for verdict in (EQUAL, INSIDE, OUTSIDE))
    if (found["verdict"] == EQUAL).all():
        return f"{counts}."
    if (found["same_place"] & (found["verdict"] != EQUAL)).any():
        return f"{counts}. Processor, stack and threads are those of the kept runs, so all bits should be equal."
    return f"{counts}. Another processor, stack or number of threads rounds otherwise, and the whole run follows."


def judge(record: Record, again: Record, kept: Iterable[Record]) -> str:
    """Return what a run that was trained again says of the kept one, beside all that are kept: ``verify``'s verdict."""
    # As text, in which a figure that is no number equals itself.
    if all(json.dumps(getattr(record, part)) == json.dumps(getattr(again, part)) for part in _RESULTS):
        return EQUAL
    alike = to_frame(other for other in kept if other.instance == record.instance)
    row = again.row()
    inside = [_is_inside(alike[name].to_numpy(float), row[name]) for name in MAIN_MEASURES]
    return INSIDE if all(inside) else OUTSIDE


def _is_inside(values: np.ndarray, value: float) -> bool:
    """Tell whether a further value lies in the prediction interval of some values."""
    if len(values) < 2:
        return False
    # Around the mean a further value scatters by sqrt(n + 1) times what the mean itself does.
    reach = half_width(values.std(ddof=1), len(values), 1 - _CONFIDENCE) * np.sqrt(len(values) + 1)
    return bool(abs(value - values.mean()) <= reach)
