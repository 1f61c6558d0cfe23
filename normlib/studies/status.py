"""Status: which of a study's planned runs are done, failed or missing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from normlib.analysis.conditions import label
from normlib.errors import RequestError, one_line
from normlib.models.instance import Instance
from normlib.runs.records import load_records
from normlib.studies.failures import read_failures
from normlib.studies.studies import Study
from normlib.studies.study_records import study_of_records

_LOG_LINES = 5  # of a failed run's log that are shown


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
    settings = [name for name in settings if name not in study.own_settings]
    there = set(records[[*settings, "seed"]].map(str).itertuples(index=False, name=None))
    rows = []
    for instance, seed in itertools.product(study.instances, study.run_seeds):
        run = tuple(str(value) for value in [*(instance.settings[name] for name in settings), seed])
        condition = label(instance.settings, study.varies)
        rows.append({"condition": condition, "ordering": instance.ordering, "seed": seed, "done": run in there})
    return pd.DataFrame(rows)


def name_run(run: Mapping[str, Any]) -> str:
    """Return what a run is called: its condition, where there is one, its ordering and its seed."""
    return ", ".join(part for part in (run["condition"], run["ordering"], f"seed {run['seed']}") if part)


def read_status(folder: Path | str) -> pd.DataFrame:
    """Return how far a study has come.

    Args:
        folder: Its output folder, with ``study.yaml`` in it.

    Returns:
        One row a planned run, in the study's order: ``condition``, ``ordering``, ``seed``, ``state`` (*done*, *failed*
        or *missing*), ``reason``, why it failed, ``log``, the tail of what it said, and ``notebook``, the executed one
        in the folder as far as it came. A run whose notebook failed after its record was written is done, with a
        reason.

    Raises:
        RequestError: There is no ``study.yaml`` in the folder.
    """
    folder = Path(folder)
    if not os.path.isfile(folder / "study.yaml"):  # and not Path's own, which raises of what can be no path
        raise RequestError("DIR", str(folder), "a study's output folder, with study.yaml in it")
    study = study_of_records(folder)
    records = load_records(folder / "records") if (folder / "records").is_dir() else load_records(folder)
    runs = planned_runs(records, study)
    failures = {(*failure.instance.values(), failure.seed): failure for failure in read_failures(folder)}
    why = [
        failures.get((*instance.settings.values(), seed))
        for instance, seed in itertools.product(study.instances, study.run_seeds)
    ]
    for name in ("reason", "log", "notebook"):
        runs[name] = [getattr(failure, name, "") for failure in why]
    runs["state"] = ["done" if run["done"] else "failed" if run["reason"] else "missing" for _, run in runs.iterrows()]
    return runs[["condition", "ordering", "seed", "state", "reason", "log", "notebook"]]


def describe_status(folder: Path | str) -> str:
    """Return how far a study has come, as text: a row an ordering, then each failed run with the end of its log.

    Raises:
        RequestError: As ``read_status``.
    """
    runs = read_status(folder)
    counted = {"values": "seed", "aggfunc": "count", "fill_value": 0, "sort": False}
    table = runs.pivot_table(index=["condition", "ordering"], columns="state", **counted)
    states = [state for state in ("done", "failed", "missing") if state in table]
    table = table.reset_index().drop(columns=[] if runs["condition"].any() else "condition")
    lines = [table[[*table.columns.difference(states, sort=False), *states]].to_string(index=False)]
    for _, run in runs[runs["reason"] != ""].iterrows():
        late = " after its record" if run["state"] == "done" else ""
        lines.append(f"failed{late}: {name_run(run)}: {one_line(run['reason'])}")
        lines += [f"    {one_line(line)}" for line in run["log"].splitlines()[-_LOG_LINES:]]
        notebook = one_line(str(Path(folder) / run["notebook"]))
        lines += [f"  as far as it came: {notebook}"] if run["notebook"] else []
    counts = runs["state"].value_counts()
    return "\n".join([*lines, ", ".join(f"{counts.get(state, 0)} {state}" for state in ("done", "failed", "missing"))])
