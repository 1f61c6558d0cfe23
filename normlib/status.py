"""Status: which of a study's planned runs are done, failed or missing."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from normlib.conditions import label
from normlib.errors import RequestError
from normlib.instance import Instance
from normlib.records import load_records
from normlib.studies import Study, study_of_records


def planned_runs(records: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Set the runs that a study plans beside those that there are.

    Args:
        records: One row a run, as ``load_records`` gives.
        study: The study.

    Returns:
        One row a planned run, in the study's order: ``condition``, empty where nothing varies, ``ordering``, ``seed``,
        ``done``.
    """
    # "auto" means another library on another stack; where providers are compared, they are named.
    varied = {name for group in study.varies for name in group}
    settings = [name for name in Instance().settings if name != "provider" or name in varied]
    there = set(records[[*settings, "seed"]].map(str).itertuples(index=False, name=None))
    rows = []
    for instance, seed in itertools.product(study.instances, study.run_seeds):
        run = tuple(str(value) for value in [*(getattr(instance, name) for name in settings), seed])
        condition = label(instance.settings, study.varies)
        rows.append({"condition": condition, "ordering": instance.ordering, "seed": seed, "done": run in there})
    return pd.DataFrame(rows)


def name_run(run: Mapping[str, object]) -> str:
    """Return what a run is called: its condition, where there is one, its ordering and its seed."""
    return ", ".join(part for part in (run["condition"], run["ordering"], f"seed {run['seed']}") if part)


def read_status(folder: Path | str) -> pd.DataFrame:
    """Return how far a study has come.

    Args:
        folder: Its output folder, with ``study.yaml`` in it.

    Returns:
        One row a planned run, in the study's order: ``condition``, ``ordering``, ``seed``, ``state`` (*done*, *failed*
        or *missing*) and ``reason``, why it failed. A run that failed once and was done later is done.

    Raises:
        RequestError: There is no ``study.yaml`` in the folder.
    """
    folder = Path(folder)
    if not (folder / "study.yaml").is_file():
        raise RequestError("DIR", str(folder), "a study's output folder, with study.yaml in it")
    study = study_of_records(folder)
    records = load_records(folder / "records") if (folder / "records").is_dir() else load_records(folder)
    runs = planned_runs(records, study)
    reasons = {}
    for path in sorted((folder / "failures").glob("*.json")):
        try:
            failure = json.loads(path.read_text(encoding="utf-8"))
            run = (label(failure["instance"], study.varies), failure["instance"]["ordering"], failure["seed"])
            reasons[run] = failure["reason"]
        except (ValueError, KeyError, TypeError):
            warnings.warn(f"left out {path.name} of {path.parent}: no failure of normlib's", stacklevel=2)
    runs["reason"] = [
        "" if done else reasons.get((condition, ordering, seed), "")
        for condition, ordering, seed, done in runs.itertuples(index=False, name=None)
    ]
    runs["state"] = ["done" if run["done"] else "failed" if run["reason"] else "missing" for _, run in runs.iterrows()]
    return runs[["condition", "ordering", "seed", "state", "reason"]]
