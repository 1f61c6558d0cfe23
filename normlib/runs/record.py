"""Records: what one run gave, the JSON in which it is kept, and the key by which it is known."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from normlib import data, stack
from normlib.datasets import is_file, parse_split, recorded_name
from normlib.errors import RequestError, one_of, whole_number
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.runs.measures import MEASURES

SCHEMA = 1
_SCHEMA_FILE = Path(__file__).with_name("record.schema.json")
_DEFAULTS = Instance().settings


class RecordError(ValueError):
    """A file that is no whole record of a schema known here."""


class OtherVersionError(RecordError):
    """A record that another version of normlib wrote, and that this one cannot read."""


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
        environment: ``versions``, ``provider``, ``device``, ``gpu`` (its name), ``processor``, ``threads``, ``onednn``,
            ``commit``, and ``study_sha256``, of the file that declares the study it was run for.
        data: SHA-256 of each array used, by name.
    """

    key: str
    instance: dict[str, Any]
    seed: int
    training: dict[str, list[float]]
    curve: dict[str, list[float]]
    evaluation: dict[str, dict[str, float]]
    parameters: dict[str, int]
    seconds: dict[str, float]
    environment: dict[str, Any]
    data: dict[str, str]

    def to_json(self, indent: int | None = None) -> str:
        """Return the record as JSON, with its schema, key and checksum; one line unless ``indent`` is given."""
        body = {"schema": SCHEMA, **_encode(dataclasses.asdict(self))}
        return json.dumps({**body, "checksum": _sha256(body)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record.

        Raises:
            RecordError: Not JSON, of another schema, not what its checksum says, or something else than a record
                whatever its checksum says: not as ``record.schema.json`` in this folder has it, settings that there are
                not, another run's key.
        """
        try:
            body = json.loads(text, parse_constant=_refuse_constant)
            schema, checksum = body["schema"], body["checksum"]
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise RecordError("no record of normlib's") from None
        if type(schema) is not int or schema != SCHEMA:
            raise OtherVersionError(f"of another version of normlib, whose schema is not {SCHEMA}")
        _check_schema(body)
        del body["checksum"]
        if checksum != _sha256(body):
            raise RecordError("the checksum does not match: edited or damaged")
        del body["schema"]
        record = cls(**body | {name: _decode(body[name]) for name in ("training", "curve", "evaluation")})
        if len({len(values) for values in record.curve.values()}) > 1:
            raise RecordError("curve has lists of different lengths")
        try:
            changes = recorded_changes(json.dumps(record.instance))
        except RequestError:
            raise RecordError("instance has settings that there are not") from None
        versions = stack.versions(record.environment["provider"], record.environment["versions"])
        if record.key != digest(record.seed, record.data, versions, record.environment["threads"], changes):
            raise RecordError("the key is not that of its seed, data, versions, threads and settings")
        return record

    @property
    def ordering(self) -> str:
        """The ordering as tables and figures have it: one's own kinds without their modules."""
        return short_form(self.instance["ordering"])

    def _repr_html_(self) -> str:
        """Return figures, what stands where as a small picture, settings that differ from the defaults, then others."""
        from normlib.report import cards  # shown only

        return cards.record_card(self)

    def row(self) -> dict[str, Any]:
        """Return the record as one row of the table that ``load_records`` gives."""
        last = {figure: values[-1] for figure, values in self.training.items()}
        figures = {m.column: self.evaluation.get(m.reading, last)[m.figure] for m in MEASURES.values()}
        return {
            "ordering": self.ordering,
            "seed": self.seed,
            **figures,
            # A record from before a setting was added was made with what is its default now.
            **{name: self.instance.get(name, value) for name, value in _DEFAULTS.items() if name != "ordering"},
            "threads": self.environment["threads"],
            "stack": stack.describe(stack.versions(self.environment["provider"], self.environment["versions"])),
            "processor": self.environment["processor"],
            "device": self.environment.get("gpu") or self.environment["device"],
            "data": ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(self.data.items())),
            "commit": self.environment["commit"],
            "study_sha256": self.environment.get("study_sha256"),
            "fit_seconds": self.seconds["fit"],
            "key": self.key,
        }


def _sha256(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of some content as canonical JSON, in hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _encode(value: Any) -> Any:
    """Write not-a-number and infinities as strings, since JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: _encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # NaN, Infinity or -Infinity
    return value


def _decode(value: Any) -> Any:
    """Undo ``_encode``."""
    if isinstance(value, dict):
        return {name: _decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return float(value) if isinstance(value, str) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@functools.cache
def _validator() -> Callable[[object], object]:
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA_FILE.read_text(encoding="utf-8")))


def _check_schema(body: object) -> None:
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator()(body)
    except JsonSchemaValueException as error:
        # Where in the record, and which rule; not the value, which may be anything.
        where = ".".join(part for part in map(str, error.path[1:]) if part.isidentifier() or part.isdecimal())
        raise RecordError(f"{where or 'a record'} breaks the rule {error.rule!r} of {_SCHEMA_FILE.name}") from None


def run_key(instance: Instance, seed: int, threads: int) -> str:
    """Return the 16 hex digits that name a run on this stack, known before it is run.

    They are SHA-256 over the seed, the data, TensorFlow's and the provider's versions, the number of threads and the
    settings that differ from the defaults, so that a setting added later leaves the keys of old records valid.
    """
    return digest(seed, data_used(instance), stack.versions(instance.provider), threads, instance.changes)


def data_used(instance: Instance) -> dict[str, str]:
    """Return the SHA-256 of each array that a run reads, by name.

    Raises:
        RequestError: As ``data.load_array``.
    """
    splits = (instance.fit_examples.name, instance.evaluate_examples.name)
    if is_file(instance.dataset):
        splits = ("train", "test")  # of both, since from all labels comes the number of classes
    return {name: sha for name, sha in data.digests(instance.dataset).items() if name.split("_")[1] in splits}


def digest(
    seed: int, data: Mapping[str, str], versions: Mapping[str, str | None], threads: int, settings: Mapping[str, Any]
) -> str:
    """Return the 16 hex digits of SHA-256 over these facts as canonical JSON."""
    facts = {"seed": seed, "data": data, "versions": versions, "threads": threads, "settings": settings}
    return _sha256(facts)[:16]


@functools.lru_cache(maxsize=1024)
def recorded_changes(settings: str) -> dict[str, Any]:
    """Return which of a record's settings, given as JSON, differ from the defaults.

    Raises:
        RequestError: There are no such settings, or they are not in the form in which an instance keeps them.
        OtherVersionError: There is a setting that this version does not know.
    """
    recorded = json.loads(settings)  # as text they are cached, in which 32 is not 32.0
    if unknown := [name for name in recorded if name not in _DEFAULTS]:
        raise OtherVersionError(f"of another version of normlib, with the setting {unknown[0][:40]!r}")
    recorded = {**_DEFAULTS, **recorded}  # a record from before a setting was added has its default
    # What need not be here, where the record is read, is checked by its form: the provider, and a file of data.
    one_of("provider", recorded["provider"], stack.PROVIDERS)
    elsewhere = {"provider": recorded["provider"]}
    if is_file(recorded["dataset"]):
        elsewhere["dataset"] = recorded_name(recorded["dataset"])
        for name in ("fit_split", "evaluate_split"):
            parse_split(recorded[name], dict.fromkeys(("train", "test"), 10**12), name)
            elsewhere[name] = recorded[name]
        for name, minimum in {"fit_sample": 1, "warmup": 0}.items():  # their bounds depend on the file's splits
            if recorded[name] != _DEFAULTS[name]:
                elsewhere[name] = whole_number(name, recorded[name], minimum)
    here = Instance.from_settings(**{**recorded, **{name: _DEFAULTS[name] for name in elsewhere}})
    kept = {**here.settings, **elsewhere}
    if json.dumps(kept) != json.dumps(recorded):
        raise RequestError("instance", recorded, "settings as an instance keeps them")
    return {name: value for name, value in kept.items() if value != _DEFAULTS[name]}
