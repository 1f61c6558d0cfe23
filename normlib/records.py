"""Records: what a run gave, and the store that keeps them, one JSON file a run, read into one DataFrame."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from normlib import stack
from normlib.errors import RequestError
from normlib.files import write_atomically
from normlib.instance import Instance

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
KEPT = Path(__file__).parent / "kept"  # records that ship with the package, one JSON Lines file a study
SOURCE_RECORDS = KEPT / "source.jsonl"


class RecordError(ValueError):
    """A file that is no whole record of a schema known here."""


@dataclasses.dataclass(frozen=True)
class Record:
    """The result of one run.

    Args:
        key: 16 hex digits that name the run, see ``run_key``.
        instance: All settings, by name.
        seed: The run's seed.
        training: ``loss`` and ``accuracy``, the running figure of each epoch, as Keras prints it: measured while the
            weights change, dropout on.
        curve: ``epoch``, ``step``, ``loss`` and ``accuracy``: the same running figures at steps on the way.
        evaluation: For each reading (``inference``, ``debiased``, ``recalibrated``), a ``loss`` and an ``accuracy`` on
            the evaluate split; the same in all where the model has no BatchNorm.
        parameters: Numbers of weights: ``total``, ``trainable``, ``non_trainable``.
        seconds: Wall-clock time to ``build``, ``fit`` and ``evaluate``.
        environment: ``versions``, ``provider``, ``device``, ``processor``, ``threads``, ``onednn``, ``commit``, and
            ``study_sha256``, of the file that declares the study it was run for.
        data: SHA-256 of each array used, by name.
    """

    key: str
    instance: dict[str, object]
    seed: int
    training: dict[str, list[float]]
    curve: dict[str, list[float]]
    evaluation: dict[str, dict[str, float]]
    parameters: dict[str, int]
    seconds: dict[str, float]
    environment: dict[str, object]
    data: dict[str, str]

    def to_json(self, indent: int | None = None) -> str:
        """Return the record as JSON, with its schema, key and checksum; one line unless ``indent`` is given."""
        body = {"schema": SCHEMA, **_encode(dataclasses.asdict(self))}
        return json.dumps({**body, "checksum": _sha256(body)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record.

        Raises:
            RecordError: Not JSON, of another schema, or not what its checksum says.
        """
        try:
            body = json.loads(text)
            checksum = body.pop("checksum")
            schema = body["schema"]
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise RecordError("no record of normlib's") from None
        if schema != SCHEMA:
            raise RecordError(f"schema {schema!r}; this normlib reads {SCHEMA}")
        if checksum != _sha256(body):
            raise RecordError("the checksum does not match: edited or damaged")
        del body["schema"]
        # Few records have such numbers, and to look for them in each value takes as long as all the rest of reading.
        return cls(**(_decode(body) if any(f'"{name}"' in text for name in _NOT_FINITE) else body))

    def row(self) -> dict[str, object]:
        """Return the record as one row of the table that ``load_records`` gives."""
        readings = {
            f"{'eval' if reading == 'inference' else reading}_{measure}": value
            for reading, measures in self.evaluation.items()
            for measure, value in measures.items()
        }
        return {
            "ordering": self.instance["ordering"],
            "seed": self.seed,
            "train_loss": self.training["loss"][-1],
            "train_accuracy": self.training["accuracy"][-1],
            **readings,
            **{name: value for name, value in self.instance.items() if name != "ordering"},
            "threads": self.environment["threads"],
            "stack": stack.describe(stack.deciding(self.environment["provider"], self.environment["versions"])),
            "processor": self.environment["processor"],
            "device": self.environment["device"],
            "data": ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(self.data.items())),
            "commit": self.environment["commit"],
            "study_sha256": self.environment.get("study_sha256"),
            "fit_seconds": self.seconds["fit"],
            "key": self.key,
        }


def run_key(instance: Instance, seed: int, threads: int) -> str:
    """Return the 16 hex digits that name a run on this stack, known before it is run.

    They are SHA-256 over the seed, the data, TensorFlow's and the provider's versions, the number of threads and the
    settings that differ from the defaults, so that a setting added later leaves the keys of old records valid.
    """
    return _sha256(
        {
            "seed": seed,
            "data": data_used(instance),
            "versions": stack.versions(instance.provider),
            "threads": threads,
            "settings": instance.changes,
        }
    )[:16]


def data_used(instance: Instance) -> dict[str, str]:
    """Return the SHA-256 of each array that a run reads, by name, from the catalog."""
    splits = (instance.fit_examples.name, instance.evaluate_examples.name)
    return {name: sha for name, sha in instance.data_facts.sha256.items() if name.split("_")[1] in splits}


def save_record(record: Record, folder: Path | str) -> Path:
    """Write a record to ``folder/KEY.json``, whole or not at all, and return the path."""
    path = Path(folder) / f"{record.key}.json"
    write_atomically(path, record.to_json(indent=1) + "\n")
    return path


def read_records(path: Path | str) -> list[Record]:
    """Read all records of a folder, of a study's folder, or of a JSON Lines file; files that are none are named.

    Raises:
        RequestError: There is no such file or folder.
    """
    path = Path(path)
    if path.suffix == ".json" and path.is_file():
        named_texts: Iterable = [(path.name, path.read_text(errors="replace"))]
    elif path.is_file():
        named_texts = ((f"line {number}", line) for number, line in enumerate(path.read_text().splitlines(), start=1))
    elif path.is_dir():
        folder = path / "records" if (path / "records").is_dir() else path
        named_texts = ((file.name, file.read_text(errors="replace")) for file in sorted(folder.glob("*.json")))
    else:
        raise RequestError("records", str(path), "a folder of records, a record or a JSON Lines file")
    records = []
    for name, text in named_texts:
        try:
            records.append(Record.from_json(text))
        except (RecordError, TypeError) as error:
            warnings.warn(f"left out {name} of {path}: {error}", stacklevel=2)
    return records


def to_frame(records: Iterable[Record]) -> pandas.DataFrame:
    """Return a table with one row a run: ordering, seed, figures, the other settings, stack and key."""
    import pandas as pd

    rows = [record.row() for record in records]
    if not rows:
        figures = ["train_loss", "train_accuracy", "eval_loss", "eval_accuracy"]
        settings = [field.name for field in dataclasses.fields(Instance) if field.name != "ordering"]
        return pd.DataFrame(columns=["ordering", "seed", *figures, *settings, "key"])
    frame = pd.DataFrame(rows)
    # Left to itself pandas writes 5.0 and NaN for 5 and None.
    frame["groups"] = pd.Series([row["groups"] for row in rows], dtype=object)
    return frame.sort_values(["ordering", "seed", "key"], ignore_index=True)


def load_records(path: Path | str) -> pandas.DataFrame:
    """Load records into one table, one row a run.

    Args:
        path: A study's output folder, a folder of record files, or a JSON Lines file.

    Returns:
        Columns ``ordering``, ``seed``, ``train_loss`` and ``train_accuracy`` (the last epoch's running figures),
        ``eval_loss`` and ``eval_accuracy`` (images not trained on, as Keras evaluates), the other readings, the
        instance's other settings, and ``threads``, ``stack``, ``processor``, ``device``, ``data``, ``commit``,
        ``study_sha256``, ``fit_seconds``, ``key``.

    Raises:
        RequestError: There is no such file or folder.
    """
    return to_frame(read_records(path))


def load_original_stack() -> pandas.DataFrame:
    """Load the source's own cells run on its stack of 2020: ``ordering``, ``seed`` (20), ``loss``, ``accuracy``."""
    import pandas as pd

    return pd.read_csv(KEPT / "original_stack.csv")


def _sha256(content: Mapping) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _encode(value: object) -> object:
    """Write not-a-number and infinities as strings, since JSON has no such numbers."""
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _decode(value: object) -> object:
    if isinstance(value, dict):
        return {name: _decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
