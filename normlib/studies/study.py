"""A study: a question, its runs and what was declared of them, read from YAML; what a paper reports beside it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from normlib.analysis.conditions import Varies, check_varies, expand, labels
from normlib.analysis.contrasts import Contrast, check_margin, read_contrasts
from normlib.datasets import recorded_name
from normlib.errors import RequestError, checked, mapping, one_of, printable, real_number, seed_range
from normlib.files import LARGEST_FILE, read_yaml
from normlib.models.instance import Instance, check_splits_named
from normlib.models.ordering import short_form
from normlib.runs.measures import MEASURES, default_measure

if TYPE_CHECKING:
    import pandas

    from normlib.runs.record import Record


@dataclasses.dataclass(frozen=True)
class Paper:
    """What a paper reports.

    Args:
        reports: What it reports and where, such as ``"Wu and He 2018, table 2: validation error on ImageNet, in %"``.
        against: The setting that its figure goes along, the first of a group that the study varies.
        lines: For each ordering, its numbers by the values of that setting.
        differs: In what the study's settings differ from the paper's.
    """

    reports: str
    against: str
    lines: Mapping[str, Mapping[float, float]]
    differs: str

    @classmethod
    def read(cls, content: dict[str, Any], varies: Varies) -> Paper:
        """Read what stands under ``paper`` in the file of a study that varies something.

        Raises:
            RequestError: It is not of this form.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if {*content} != {*names}:
            raise RequestError("paper", content, f"the keys {', '.join(names)} with their values")
        paper = cls(**content)
        for name in ("reports", "differs"):
            printable(f"paper: {name}", getattr(paper, name), most=2000, lines=True)
        against, values = next(iter(varies[0].items())) if len(varies) == 1 else ("", ())
        if paper.against != against or not all(isinstance(value, int | float) and value > 0 for value in values):
            allowed = "the first setting of the one group that the study varies, whose values are positive numbers"
            raise RequestError("paper: against", paper.against, allowed)
        lines = paper.lines
        if (
            not isinstance(lines, dict)
            or not lines
            or not all(isinstance(line, dict) and line for line in lines.values())
        ):
            raise RequestError("paper: lines", lines, "numbers by the values of the setting, by ordering")
        for ordering, line in lines.items():
            printable("paper: lines", ordering, most=100)
            for value, number in line.items():
                real_number("paper: lines", number, "finite numbers", lambda _: True)
                real_number("paper: lines", value, "numbers by positive values of the setting", lambda v: v > 0)
        return paper


_NAME = re.compile(r"\w[\w .+-]{0,99}")
_QUICKER = ("seeds", "looks", "first_seed", "defaults", "varies", "tune")
SHIPPED = Path(__file__).parent


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
        seeds: Number of runs of each instance; 10 unless it is given or there are looks.
        looks: Growing numbers of seeds, such as ``(8, 16, 32, 64)``, in place of ``seeds``. All contrasts are judged
            at each, and the study ends when all are decided, or with the last look.
        first_seed: The first run's seed; the others follow it.
        defaults: Settings that all runs share, where they differ from Instance's.
        own: Settings that each ordering has its own values of, such as ``{"bn/none": {"learning_rate": 0.003}}``.
        tune: How these are chosen before the study runs, see ``normlib.studies.tuning``.
        ties: For each ordering of which the choice was a tie, the nearest settings that it was tied with.
        quick: What is less in a quick look, such as ``{"seeds": 2}``; ``defaults`` in it are added to the study's.
        paper: What a paper reports, to be shown beside, see ``Paper``.
        measure: What contrasts are about: a column of the records, such as ``train_loss``. None: evaluation accuracy,
            or running training loss where a run follows the source's protocol.
        margin: The largest difference in it, either way, that does not matter; declared before the data are seen.
        contrasts: Declared differences by name, such as ``{"order": "bn/gn - gn/bn"}``; see ``Contrast.parse``.
        diverged: How diverged runs count: ``""``, nothing is said of contrasts that they stand in; ``"worst"``, as
            chance, with an accuracy of one in the number of classes and a loss of its logarithm.
        expected_sd: Standard deviation that the pairs' differences are expected to have, for planning; None: not known.
        declared_in: SHA-256 of the file that declares it, which goes into the records; empty where there is none.

    Attributes:
        run_seeds: The seeds of each instance's runs.
        look_seeds: Those of each look.
        instances: The instances: each ordering under each condition.
        declared: The contrasts, read.
        reported: What a paper reports; None where the study has none beside it.

    Raises:
        RequestError: A setting that does not exist, or has a value that is not allowed.
    """

    name: str
    question: str
    orderings: tuple[str, ...]
    citation: str = ""
    varies: tuple[dict[str, list[Any]], ...] = ()
    seeds: int = None  # type: ignore[assignment]  # a number once it is read
    looks: tuple[int, ...] = ()
    first_seed: int = 0
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    own: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    tune: dict[str, Any] = dataclasses.field(default_factory=dict)
    ties: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    quick: dict[str, Any] = dataclasses.field(default_factory=dict)
    paper: dict[str, Any] = dataclasses.field(default_factory=dict)
    measure: str = None  # type: ignore[assignment]  # a column once it is read
    margin: float = 0.01
    contrasts: dict[str, str] = dataclasses.field(default_factory=dict)
    diverged: str = ""
    expected_sd: float | None = None
    declared_in: str = dataclasses.field(default="", compare=False)
    # What follows from these, read once.
    run_seeds: range = dataclasses.field(init=False, repr=False, compare=False)
    look_seeds: list[range] = dataclasses.field(init=False, repr=False, compare=False)
    instances: list[Instance] = dataclasses.field(init=False, repr=False, compare=False)
    declared: list[Contrast] = dataclasses.field(init=False, repr=False, compare=False)
    reported: Paper | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        printable("name", self.name, most=255)  # a folder's, perhaps
        for key in ("question", "citation"):
            printable(key, getattr(self, key), most=2000, lines=True)
        if not isinstance(self.declared_in, str) or not re.fullmatch("([0-9a-f]{64})?", self.declared_in):
            raise RequestError("declared_in", self.declared_in, "left out, or a SHA-256 as normlib writes it")
        for name in ("defaults", "tune", "ties", "quick", "paper", "own", "contrasts"):
            mapping(name, getattr(self, name))
        if "ordering" in self.defaults:
            raise RequestError("defaults", self.defaults, problem="orderings stand in 'orderings'")
        if not isinstance(self.orderings, list | tuple) or not self.orderings:
            raise RequestError("orderings", self.orderings, "a list of orderings, such as [bn/none, none/none]")
        check_varies(self.varies, self.defaults, len(self.orderings))
        self._check_own()
        self._set("varies", tuple(self.varies))
        self._read_looks()
        self._set("run_seeds", seed_range(self.first_seed, self.seeds))
        self._set("look_seeds", [self.run_seeds[:look] for look in self.looks])
        self._read_orderings()
        named = {*self.defaults, *self.own_settings, *(name for group in self.varies for name in group)}
        for instance in self.instances:
            check_splits_named(instance.dataset, named)
        follows = any(instance.follows_source for instance in self.instances)
        self._set("measure", default_measure(follows) if self.measure is None else self.measure)
        one_of("measure", self.measure, MEASURES)
        self._set("margin", check_margin(self.margin))
        for name in self.contrasts:
            printable("a contrast's name", name, most=100)
        self._set("declared", read_contrasts(self.contrasts, map(short_form, self.orderings), self.varies))
        self._check_judging()
        self._set("reported", Paper.read(self.paper, self.varies) if self.paper else None)
        if self.quick:
            self.quick_version()  # refuses what would not be a study

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the way of frozen dataclasses

    def _read_looks(self) -> None:
        looks = self.looks
        whole = isinstance(looks, list | tuple) and all(type(look) is int for look in looks)
        if not whole or any(look < 2 for look in looks) or sorted(set(looks)) != [*looks]:
            raise RequestError("looks", looks, "growing numbers of seeds, two or more each, such as [8, 16, 32]")
        self._set("looks", tuple(looks))
        if looks and self.seeds not in (None, looks[-1]):
            raise RequestError("seeds", self.seeds, problem=f"the study has looks instead: {[*looks]}")
        if self.seeds is None:
            self._set("seeds", looks[-1] if looks else 10)

    def _check_judging(self) -> None:
        """Refuse looks at nothing, and what cannot be said of diverged runs."""
        if self.looks and not self.declared:
            raise RequestError("looks", self.looks, problem="no contrast is declared that they could decide")
        if self.expected_sd is not None:
            real_number("expected_sd", self.expected_sd, "a positive, finite number", lambda sd: sd > 0)
        if self.diverged:
            one_of("diverged", self.diverged, ["worst"])
        own = {*self.own_settings}
        if any(ordering not in self.own or {*mapping("ties", ties)} != own for ordering, ties in self.ties.items()):
            raise RequestError("ties", self.ties, "left out, or settings as in 'own' for some of its orderings")

    def _check_own(self) -> None:
        elsewhere = {"ordering", *self.defaults, *(name for group in self.varies for name in group)}
        alike = {tuple(mapping("own", settings)) for settings in self.own.values()}
        others = self.own and [*self.own] != [*map(str, self.orderings)]
        if others or len(alike) > 1 or elsewhere & {*self.own_settings}:
            form = "{bn/none: {learning_rate: 0.003}, none/none: {learning_rate: 0.001}}"
            problem = (
                f"it must name all orderings, in their order, with the same settings, set nowhere else, as in {form}"
            )
            raise RequestError("own", self.own, problem=problem)

    def _read_orderings(self) -> None:
        """Read the orderings, and make of them the instances: each ordering under each condition."""
        instances = [
            Instance.from_settings(ordering=ordering, **self.defaults, **condition, **self.own.get(str(ordering), {}))
            for condition in expand(self.varies)
            for ordering in self.orderings
        ]
        orderings = [instance.ordering for instance in instances[: len(self.orderings)]]
        if twice := [instance.ordering for instance, times in Counter(instances).items() if times > 1]:
            raise RequestError("orderings", twice[0], problem="an ordering, or its condition, stands there twice")
        if len(set(map(short_form, orderings))) < len(orderings):
            problem = "tables and figures call two of them the same, by what stands behind the colon"
            raise RequestError("orderings", self.orderings, problem=problem)
        self._set("instances", instances)
        self._set("own", dict(zip(orderings, self.own.values(), strict=False)))
        self._set("orderings", tuple(orderings))

    @property
    def own_settings(self) -> tuple[str, ...]:
        """The names of the settings that each ordering has its own value of."""
        return tuple(next(iter(self.own.values()), {}))

    def to_frame(self, records: Iterable[Record]) -> pandas.DataFrame:
        """Return records as ``normlib.to_frame`` does, as the study compares them.

        A setting of each ordering's own reads the same in all runs; diverged runs count as ``diverged`` says.
        """
        import numpy as np  # a study is read without these, which start slowly

        from normlib.analysis.statistics import find_diverged
        from normlib.runs.store import to_frame

        frame = to_frame(records)
        if self.diverged:
            classes = {recorded_name(i.dataset): i.data_facts.classes for i in self.instances}
            lost = find_diverged(frame)
            share = 1 / frame["dataset"].map(classes)
            for measure in MEASURES.values():
                chance = -np.log(share) if measure.lower_is_better else share
                frame[measure.column] = frame[measure.column].astype(float).mask(lost, chance)
        for name in self.own_settings:
            frame[name] = f"each ordering's own value ({self.own_values(name)})"
        return frame

    def own_values(self, name: str) -> str:
        """Return the value of a setting for each ordering that has its own, as a phrase."""
        values = {ordering: settings[name] for ordering, settings in self.own.items()}
        if len(set(values.values())) == 1:
            return f"{next(iter(values.values()))} for all of them"
        return ", ".join(f"{value} for {ordering}" for ordering, value in values.items())

    def identify(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return by what an instance is known among this study's runs: all its settings, as text.

        The provider is left out unless the study compares providers: "auto" is another one on another stack.

        Args:
            settings: The instance's, as records keep them; what is missing, as in older records, has its default.
        """
        values = {**Instance().settings, **settings}
        compared = any("provider" in group for group in self.varies)
        return tuple(str(value) for name, value in values.items() if compared or name != "provider")

    def select(self, records: Iterable[Record]) -> list[Record]:
        """Return those records that have the study's settings, whatever their seeds.

        Their ordering may be any, too, unless each ordering has settings of its own.
        """
        anything = {} if self.own else {"ordering": ""}
        planned = {self.identify(instance.settings | anything) for instance in self.instances}
        return [record for record in records if self.identify(record.instance | anything) in planned]

    def quick_version(self) -> Study:
        """Return the study for a quick look: with less, as ``quick`` says, and two seeds of its own, from 0."""
        if not {*self.quick} <= {*_QUICKER}:
            raise RequestError("quick", self.quick, problem=f"it may hold only {', '.join(_QUICKER)}")
        seeds = None if "looks" in self.quick else min(2, self.seeds)
        less: dict[str, Any] = {"seeds": seeds, "looks": (), "first_seed": 0, **self.quick}
        for name in ("defaults", "tune"):
            less[name] = {**getattr(self, name), **mapping("quick", less.get(name, {}))}
        if "varies" in self.quick:
            check_varies(less["varies"], less["defaults"], len(self.orderings))
            there = {name for group in less["varies"] for name in labels([group])}
            kept = [contrast.name for contrast in self.declared if contrast.conditions <= there]
            less["contrasts"] = {name: self.contrasts[name] for name in kept}
        return dataclasses.replace(self, quick={}, **less)

    def with_seeds(self, seeds: range) -> Study:
        """Return the study with these seeds, and no looks: a part of it."""
        return dataclasses.replace(self, looks=(), first_seed=seeds[0], seeds=len(seeds))

    def tied_version(self) -> Study | None:
        """Return the study of those orderings whose settings were a tie, at the ones they were tied with."""
        if not self.ties:
            return None
        return dataclasses.replace(
            self, orderings=tuple(self.ties), own=self.ties, ties={}, contrasts={}, looks=(), quick={}, paper={}
        )

    def replace(self, **changes: Any) -> Study:
        """Return the study with other seeds or orderings; None changes nothing.

        With other orderings, contrasts of those that it then lacks are left out, and so is ``declared_in``; where none
        is left, there are no looks, but as many seeds as at the first.

        Raises:
            RequestError: A value that is not allowed, or other seeds of a study that has looks.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        if self.looks and "seeds" in changes:
            raise RequestError("seeds", changes["seeds"], problem=f"the study has looks instead: {[*self.looks]}")
        if "orderings" in changes:
            changes["ties"] = {}
            if self.tune:
                changes["own"] = {}  # chosen anew
        changed = dataclasses.replace(self, contrasts={}, looks=(), quick={}, **changes)
        kept = [c.name for c in self.declared if {*map(short_form, changed.orderings)}.issuperset(c.orderings)]
        quick = {name: value for name, value in self.quick.items() if kept or name != "looks"}
        return dataclasses.replace(
            changed,
            contrasts={name: self.contrasts[name] for name in kept},
            looks=self.looks if kept else (),
            quick=quick,
            seeds=self.looks[0] if self.looks and not kept else changed.seeds,
            declared_in=self.declared_in if changed.orderings == self.orderings else "",
        )

    def _repr_html_(self) -> str:
        from normlib.report import cards  # shown only

        return cards.study_card(self)

    def to_yaml(self) -> str:
        """Return the study as YAML, which ``read_study`` reads."""
        body = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init and f.name != "name"}
        body |= {"orderings": list(self.orderings), "varies": list(self.varies), "looks": list(self.looks)}
        del body["seeds" if self.looks else "looks"]
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


@checked
def read_study(name_or_file: str | Path) -> Study:
    """Read a study that ships with normlib, by name, or a YAML file, by path.

    Raises:
        RequestError: No such study, not YAML, an unknown key, or a value that is not allowed.
    """
    path = SHIPPED / f"{name_or_file}.yaml"
    if str(name_or_file) not in shipped_studies():
        path = Path(name_or_file)
        if not os.path.isfile(path):  # Path's own raises of what can be no path
            allowed = f"one of {', '.join(shipped_studies())}, or the path of a YAML file"
            raise RequestError("study", str(name_or_file), allowed, names=shipped_studies())
    if not _NAME.fullmatch(path.stem):  # outputs are called by it
        allowed = "a file whose name starts with a letter or digit and holds only letters, digits, spaces, _ . + -"
        raise RequestError("study", str(name_or_file), allowed)
    body, sha256 = read_yaml("study", path)
    if not isinstance(body, dict):
        raise RequestError("study", str(name_or_file), "a YAML file with keys such as 'question' and 'orderings'")
    if "seeds" in body and (body["seeds"] is None or body.get("looks")):
        problem = "the study has looks instead" if body.get("looks") else ""
        raise RequestError("seeds", body["seeds"], "a whole number from 1 up, or left out", problem=problem)
    keys = [field.name for field in dataclasses.fields(Study) if field.init and field.name != "name"]
    for key in body:
        one_of(f"a key of {path.name}", key, keys)
    for key in ("question", "orderings"):
        if key not in body:
            raise RequestError("study", str(name_or_file), problem=f"its key {key!r} is missing")
    # What normlib wrote as run says itself in which file it was declared.
    study = Study(**{"name": path.stem, "declared_in": sha256, **body})
    if len(study.to_yaml().encode()) > LARGEST_FILE:  # as run, it has to be read again
        raise RequestError("study", str(name_or_file), f"a YAML file of at most {LARGEST_FILE:,} bytes")
    return study


def shipped_studies() -> list[str]:
    """Return the names of the studies that ship with normlib."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))
