"""A study's output folder: records with their study, failures, and how far it has come."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from normlib.analysis.conditions import label
from normlib.errors import RequestError, one_line
from normlib.files import read_text, write_atomically
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.runs.record import recorded_changes
from normlib.runs.store import KEPT, SOURCE_RECORDS, Record, load_records, read_records
from normlib.studies.study import Study, read_study
from normlib.studies.tuning import tuned


class UndeclaredStudy(Study):
    """What stands for the study of records beside which none was declared."""


def study_of_records(records_dir: str | Path) -> Study:
    """Return the study that some records belong to: ``study.yaml`` in their folder or in the one above.

    Args:
        records_dir: The folder; empty: the source study's records, which ship with the package.

    Returns:
        The study, called as its folder; where there is no such file, one without contrasts, since nothing was declared.

    Raises:
        RequestError: The file is no study.
    """
    if not str(records_dir):
        return read_study("source")
    folder = Path(records_dir)
    for path in (folder / "study.yaml", folder.parent / "study.yaml"):
        if os.path.isfile(path):
            return dataclasses.replace(read_study(path), name=path.parent.name)
    return UndeclaredStudy(folder.name, "No study was declared beside these records.", ("none",))


def read_study_records(records_dir: str | Path) -> tuple[Study, list[Record]]:
    """Return the study that some records belong to, and those of them that have its settings.

    A folder keeps also what was run before a setting of its study was changed; of that, nothing is compared. Orderings
    and seeds are not settings in this sense: those of earlier calls count.

    Args:
        records_dir: As for ``study_of_records``.

    Raises:
        RequestError: There is no such folder, or the study's file is none.
    """
    study, records = study_of_records(records_dir), read_records(records_dir or SOURCE_RECORDS)
    if isinstance(study, UndeclaredStudy):
        return study, records
    return study, runs_of(study, records)


def read_folder(folder: Path, setting: str = "DIR") -> tuple[Study, list[Record]]:
    """Return the study of an output folder, and its runs, one at least.

    Args:
        folder: The study's output folder, with ``records/`` in it.
        setting: Name of the setting that holds it.

    Raises:
        RequestError: There are none.
    """
    # Not Path's own test, which raises of what can be no path.
    study, runs = read_study_records(folder / "records") if os.path.isdir(folder / "records") else (None, [])
    if study is None or not runs:
        raise RequestError(setting, str(folder), "a study's output folder, with at least one record in records/")
    return study, runs


def read_kept(name: str) -> tuple[Study, list[Record]]:
    """Return a study whose records ship with normlib, its orderings' own settings chosen, and its runs.

    Args:
        name: The study's name.

    Raises:
        RequestError: There is no such study, or it has no records.
    """
    study, records = read_study(name), read_records(KEPT / f"{name}.jsonl")
    study = tuned(study, records) if study.tune else study
    return study, runs_of(study, records)


def runs_of(study: Study, records: Iterable[Record]) -> list[Record]:
    """Return those records that have a study's settings, whatever their seeds and, unless it has own ones, orderings.

    Args:
        study: The study.
        records: Some records.
    """
    # "auto" means another library on another stack; where providers are compared, they are named.
    varied = {name for group in study.varies for name in group}
    settings = [n for n in Instance().settings if n != "ordering" and (n != "provider" or n in varied)]
    if study.own:
        settings.append("ordering")  # with whose own settings a run counts
    defaults = Instance().settings
    planned = {tuple(str(instance.settings[name]) for name in settings) for instance in study.instances}
    return [r for r in records if tuple(str((defaults | r.instance)[name]) for name in settings) in planned]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that gave no record.

    Args:
        key: The run's, as its record would have it.
        instance: All settings, by name.
        seed: The run's seed.
        reason: What went wrong, in one line.
        log: The tail of what the notebook or its kernel said.
        notebook: The executed notebook as far as it came, relative to the study's folder; empty where there is none.
        tries: How often it was tried.
    """

    key: str
    instance: dict[str, Any]
    seed: int
    reason: str
    log: str
    notebook: str
    tries: int = 1

    def __str__(self) -> str:
        where = f" (see {self.notebook})" if self.notebook else ""
        tries = f", {self.tries} times" if self.tries > 1 else ""
        return f"{self.instance['ordering']}, seed {self.seed}: {self.reason}{tries}{where}"


def write_failure(failure: Failure, out: Path) -> None:
    """Write a failure to ``failures/KEY.json`` of a study's folder."""
    content = json.dumps(dataclasses.asdict(failure), indent=1)
    write_atomically(failure_path(out, failure.key), content + "\n")


def read_failures(out: Path) -> list[Failure]:
    """Read all failures of a study's folder; files that are none are named."""
    failures = []
    for path in sorted((out / "failures").glob("*.json")):
        try:
            failure = Failure(**json.loads(read_text(path)))
            recorded_changes(json.dumps(failure.instance))  # refuses settings that are none
            texts = (failure.key, failure.reason, failure.log, failure.notebook)
            if {*map(type, texts)} != {str} or {type(failure.seed), type(failure.tries)} != {int}:
                raise TypeError("a failure's reason, log and notebook are texts, its seed and tries numbers")
            failures.append(failure)
        except (OSError, ValueError, TypeError, RecursionError):
            warnings.warn(f"left out {path.name} of {path.parent}: no failure of normlib's", stacklevel=2)
    return failures


def failure_path(out: Path, key: str) -> Path:
    """Return where a run's failure is."""
    return out / "failures" / f"{key}.json"


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
        values = {**instance.settings, "ordering": short_form(instance.ordering)}
        run = tuple(str(value) for value in [*(values[name] for name in settings), seed])
        condition = label(instance.settings, study.varies)
        rows.append({"condition": condition, "ordering": values["ordering"], "seed": seed, "done": run in there})
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
    failures = {(*_values(failure.instance), failure.seed): failure for failure in read_failures(folder)}
    why = [
        failures.get((*_values(instance.settings), seed))
        for instance, seed in itertools.product(study.instances, study.run_seeds)
    ]
    for name in ("reason", "log", "notebook"):
        runs[name] = [getattr(failure, name, "") for failure in why]
    runs["state"] = ["done" if run["done"] else "failed" if run["reason"] else "missing" for _, run in runs.iterrows()]
    return runs[["condition", "ordering", "seed", "state", "reason", "log", "notebook"]]


def _values(settings: Mapping[str, object]) -> list[object]:
    """Return the values of all settings that there are; where one is left out, as in what is older, its default."""
    return [settings.get(name, default) for name, default in Instance().settings.items()]


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
