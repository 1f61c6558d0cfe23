"""Failures: runs that gave no record, one JSON file each."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from normlib.files import read_text, write_atomically
from normlib.runs.run_keys import recorded_changes


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
