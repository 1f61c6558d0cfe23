"""A study's output folder: its study, failures, and how far it has come."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from normlib.analysis.conditions import label
from normlib.errors import RequestError, one_line
from normlib.files import read_text, write_atomically
from normlib.models.ordering import short_form
from normlib.runs.record import recorded_changes
from normlib.runs.store import Record, read_records
from normlib.studies.study import Study, read_study


class UndeclaredStudy(Study):
    """What stands for the study of records beside which none was declared."""

    def select(self, records: Iterable[Record]) -> list[Record]:
        """Return all of them."""
        return list(records)


def study_of_folder(folder: Path) -> Study:
    """Return the study that some records belong to, called as its folder: ``study.yaml`` there or in the one above.

    Where there is no such file, it is one without contrasts, since nothing was declared.

    Raises:
        RequestError: The file is no study.
    """
    name = output_folder(folder).name
    for path in (folder / "study.yaml", folder.parent / "study.yaml"):
        if os.path.isfile(path):
            return dataclasses.replace(read_study(path), name=name)
    return UndeclaredStudy(name, "No study was declared beside these records.", ("none",))


def output_folder(folder: Path) -> Path:
    """Return the output folder that a folder of records stands in; any other folder as it is."""
    folder = Path(os.path.abspath(folder))
    above = folder.name == "records" or (folder.parent / "study.yaml").is_file()
    return folder.parent if above and not (folder / "study.yaml").is_file() else folder


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
            if [*map(type, vars(failure).values())] != [str, dict, int, str, str, str, int]:
                raise TypeError("a value of another type than the field's")
            failures.append(failure)
        except (OSError, ValueError, TypeError, RecursionError):
            warnings.warn(f"left out {path.name} of {path.parent}: no failure of normlib's", stacklevel=2)
    return failures


def failure_path(out: Path, key: str) -> Path:
    """Return where a run's failure is."""
    return out / "failures" / f"{key}.json"


_LOG_LINES = 5  # of a failed run's log that are shown


def planned_runs(study: Study, records: Iterable[Record], seeds: int | None = None, tied: bool = False) -> pd.DataFrame:
    """Set the runs that a study plans beside those that there are.

    Args:
        study: The study.
        records: Some runs.
        seeds: As ``needed_seeds`` says; None: all.
        tied: Whether those at tied settings, see ``normlib.studies.tuning``, are listed too, behind the others.

    Returns:
        One row a planned run, in the study's order: ``condition``, empty where nothing varies and ``tied`` of those at
        tied settings, ``ordering``, ``seed``, ``done``; and ``run``, by which the study knows it.
    """
    instances = [(label(instance.settings, study.varies), instance) for instance in study.instances]
    if tied and (version := study.tied_version()):
        instances += [("tied", instance) for instance in version.instances]
    there = {(study.identify(record.instance), record.seed) for record in records}
    rows = []
    for (condition, instance), seed in itertools.product(instances, study.run_seeds[:seeds]):
        run = study.identify(instance.settings), seed
        ordering = short_form(instance.ordering)
        rows.append({"condition": condition, "ordering": ordering, "seed": seed, "done": run in there, "run": run})
    return pd.DataFrame(rows)


def needed_seeds(study: Study, runs: Sequence[Record]) -> int | None:
    """Return how many seeds a study with looks needs by the runs that there are, see ``Comparison``; None: no looks."""
    if not study.looks or not runs:
        return next(iter(study.looks), None)
    from normlib.analysis.comparison import Comparison  # which loads SciPy

    declared = study.declared, study.measure, study.margin, study.varies
    return Comparison(study.to_frame(runs), *declared, looks=study.look_seeds).needed_seeds


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
    study = study_of_folder(folder)
    records = read_records(folder)
    seeds = needed_seeds(study, study.select(records))
    runs = planned_runs(study, records, seeds, tied=True)
    failures = {(study.identify(failure.instance), failure.seed): failure for failure in read_failures(folder)}
    for name in ("reason", "log", "notebook"):
        runs[name] = [getattr(failures.get(run), name, "") for run in runs["run"]]
    runs["state"] = np.select([runs["done"], runs["reason"] != ""], ["done", "failed"], "missing")
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
