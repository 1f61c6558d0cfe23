"""Study: a YAML file with a question, the orderings that answer it, their settings and seeds."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import yaml

from normlib.conditions import check_varies, expand
from normlib.contrasts import Contrast
from normlib.errors import RequestError
from normlib.instance import Instance, one_of, real_number, seed_range
from normlib.records import SOURCE_RECORDS, Record, read_records
from normlib.statistics import MEASURES
from normlib.yaml_files import LARGEST_FILE, load, read_small

_NAME = re.compile(r"\w[\w .+-]{0,99}")
_MOST_INSTANCES = 10_000
UNDECLARED = "No study was declared beside these records."
SHIPPED = Path(__file__).parent / "studies"


@dataclasses.dataclass(frozen=True)
class Study:
    """What is asked, and the runs that answer it.

    Args:
        name: What its outputs are called.
        question: The question, as a sentence.
        orderings: Orderings to compare; the baseline ``none/none`` belongs to them.
        citation: Where the question or the protocol comes from.
        varies: Settings that vary besides the ordering, such as ``[{"learning_rate": [0.001, 0.003]}]``: groups of
            settings with their values. Those of one group go together; groups, and orderings, are crossed.
        seeds: Number of runs of each instance.
        first_seed: The first run's seed; the others follow it.
        defaults: Settings that all runs share, where they differ from Instance's.
        measure: What contrasts are about: a column of the records, such as ``train_loss``.
        margin: The largest difference in it, either way, that does not matter; declared before the data are seen.
        contrasts: Declared differences by name, such as ``{"order": "bn/gn - gn/bn"}``.
        declared_in: SHA-256 of the file that declares it, which goes into the records; empty where there is none.

    Raises:
        RequestError: A setting that does not exist, or has a value that is not allowed.
    """

    name: str
    question: str
    orderings: tuple[str, ...]
    citation: str = ""
    varies: tuple[dict[str, list], ...] = ()
    seeds: int = 10
    first_seed: int = 0
    defaults: dict[str, object] = dataclasses.field(default_factory=dict)
    measure: str = "train_loss"
    margin: float = 0.01
    contrasts: dict[str, str] = dataclasses.field(default_factory=dict)
    declared_in: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_text("name", self.name, most=255)  # a folder's, perhaps
        for key in ("question", "citation"):
            _check_text(key, getattr(self, key), most=2000)
        if not isinstance(self.declared_in, str) or not re.fullmatch("([0-9a-f]{64})?", self.declared_in):
            raise RequestError("declared_in", self.declared_in, "a SHA-256, as normlib writes it; leave it out")
        seed_range(self.first_seed, self.seeds)
        named = isinstance(self.defaults, dict) and all(isinstance(name, str) for name in self.defaults)
        if not named or "ordering" in self.defaults:
            raise RequestError("defaults", self.defaults, "settings by name; orderings stand in 'orderings'")
        if not isinstance(self.orderings, list | tuple) or not self.orderings:
            raise RequestError("orderings", self.orderings, "a list of orderings, such as [bn/none, none/none]")
        check_varies(self.varies, self.defaults)
        instances = len(self.orderings) * len(expand(self.varies))
        if instances > _MOST_INSTANCES:
            allowed = f"at most {_MOST_INSTANCES:,} instances, and with all conditions these are {instances:,}"
            raise RequestError("orderings", self.orderings, allowed)
        object.__setattr__(self, "varies", tuple(self.varies))
        instances = self.instances
        for instance, times in Counter(instances).items():
            if times > 1:
                raise RequestError("orderings", instance.ordering, "each ordering once, and each condition")
        object.__setattr__(self, "orderings", tuple(dict.fromkeys(instance.ordering for instance in instances)))
        self._check_contrasts()

    def _check_contrasts(self) -> None:
        one_of("measure", self.measure, MEASURES)
        allowed = "a positive, finite number, in the unit of the measure"
        object.__setattr__(self, "margin", real_number("margin", self.margin, allowed, lambda margin: margin > 0))
        if not isinstance(self.contrasts, dict) or not all(isinstance(name, str) for name in self.contrasts):
            raise RequestError("contrasts", self.contrasts, "differences by name, such as {order: bn/gn - gn/bn}")
        for name in self.contrasts:
            _check_text("a contrast's name", name, most=100)
        self.declared  # noqa: B018  (a property that refuses a wrong contrast)

    @property
    def declared(self) -> list[Contrast]:
        """The contrasts, read."""
        return [Contrast.parse(name, text, self.orderings) for name, text in self.contrasts.items()]

    @property
    def family(self) -> dict[str, object]:
        """What was declared, as ``normlib.estimate`` and ``normlib.plot_contrasts`` take it behind the records."""
        return {"contrasts": self.declared, "measure": self.measure, "margin": self.margin, "varies": self.varies}

    @property
    def instances(self) -> list[Instance]:
        """The instances: each ordering under each condition."""
        return [
            Instance.of(ordering=ordering, **self.defaults, **condition)
            for condition in expand(self.varies)
            for ordering in self.orderings
        ]

    @property
    def run_seeds(self) -> range:
        """The seeds of each instance's runs."""
        return seed_range(self.first_seed, self.seeds)

    def but(self, **changes: object) -> Study:
        """Return the study with other seeds or orderings; None changes nothing.

        With other orderings it is no longer what its file declares: contrasts of those that it then lacks are left out,
        and so is ``declared_in``.

        Raises:
            RequestError: A value that is not allowed.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        changed = dataclasses.replace(self, contrasts={}, **changes)
        there = set(changed.orderings)
        return dataclasses.replace(
            changed,
            contrasts={
                contrast.name: self.contrasts[contrast.name]
                for contrast in self.declared
                if there.issuperset(contrast.first + contrast.second)
            },
            declared_in=self.declared_in if changed.orderings == self.orderings else "",
        )

    def to_yaml(self) -> str:
        """Return the study as YAML, which ``read_study`` reads."""
        body = {**dataclasses.asdict(self), "orderings": list(self.orderings), "varies": list(self.varies)}
        del body["name"]
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def read_study(name_or_file: str | Path) -> Study:
    """Read a study that ships with normlib, by name, or a YAML file, by path.

    Raises:
        RequestError: No such study, not YAML, an unknown key, or a value that is not allowed.
    """
    path = SHIPPED / f"{name_or_file}.yaml"
    if str(name_or_file) not in shipped_studies():
        path = Path(name_or_file)
        if not os.path.isfile(path):  # Path's own raises of what can be no path
            allowed = f"{', '.join(shipped_studies())}, or the path of a YAML file"
            raise RequestError("study", str(name_or_file), allowed, names=shipped_studies())
    if not _NAME.fullmatch(path.stem):  # outputs are called by it
        allowed = "a file whose name starts with a letter or digit and has but letters, digits, spaces, _ . + - in it"
        raise RequestError("study", str(name_or_file), allowed)
    content = read_small("study", path)
    body = load("study", path, content)
    if not isinstance(body, dict):
        raise RequestError("study", str(name_or_file), "a YAML file with keys such as 'question' and 'orderings'")
    keys = [field.name for field in dataclasses.fields(Study) if field.name != "name"]
    for key in body:
        one_of(f"a key of {path.name}", key, keys)
    for key in ("question", "orderings"):
        if key not in body:
            raise RequestError(f"a key of {path.name}", key, "to be there, and it is missing")
    # What normlib wrote as run says itself in which file it was declared.
    study = Study(**{"name": path.stem, "declared_in": hashlib.sha256(content).hexdigest(), **body})
    if len(study.to_yaml().encode()) > LARGEST_FILE:  # as run, it has to be read again
        raise RequestError("study", str(name_or_file), f"a YAML file of at most {LARGEST_FILE:,} bytes")
    return study


def _check_text(setting: str, value: object, most: int) -> None:
    """Refuse what is no text that can be shown: control characters, and marks that turn the direction of writing."""
    lines = value.splitlines() if isinstance(value, str) and setting in ("question", "citation") else [value]
    if not isinstance(value, str) or len(value) > most or not all(line.isprintable() for line in lines):
        raise RequestError(setting, value, f"text of at most {most:,} characters that can be printed")


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
    return Study(folder.name, UNDECLARED, ("none",))


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
    if study.question == UNDECLARED:
        return study, records
    # "auto" means another library on another stack; where providers are compared, they are named.
    varied = {name for group in study.varies for name in group}
    settings = [n for n in Instance().settings if n != "ordering" and (n != "provider" or n in varied)]
    planned = {tuple(str(instance.settings[name]) for name in settings) for instance in study.instances}
    return study, [r for r in records if tuple(str(r.instance.get(name)) for name in settings) in planned]


def shipped_studies() -> list[str]:
    """Return the names of the studies that ship with normlib."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))
