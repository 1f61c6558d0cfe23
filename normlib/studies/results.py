"""Results: a study and its runs together, and all that follows from them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from normlib.analysis.comparison import Comparison
from normlib.analysis.rankings import count_rankings
from normlib.analysis.statistics import CONFIDENCE, find_diverged, order_orderings
from normlib.errors import RequestError, checked
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.runs.cost import COST_FILE, read_cost
from normlib.runs.store import KEPT, Record, read_records, to_frame
from normlib.studies.folder import output_folder, planned_runs, study_of_folder
from normlib.studies.study import Study, read_study
from normlib.studies.tuning import tune

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


class Results(Comparison):
    """A study and its runs. What is read from it is computed when it is first needed, and once.

    Args:
        study: The study.
        runs: Its records, see ``Study.select``.
        tied_runs: Those of ``study.tied_version()``, where settings were chosen in a tie.

    Raises:
        RequestError: There are no runs, or some that must not be compared.
    """

    cost: pd.DataFrame | None = None  # of its orderings where that was measured, see ``normlib.measure_cost``

    def __init__(self, study: Study, runs: Sequence[Record], tied_runs: Sequence[Record] = ()):
        self.study, self.runs, self.tied_runs = study, list(runs), list(tied_runs)
        declared = study.declared, study.measure, study.margin, study.varies
        frame = study.to_frame(self.runs)
        super().__init__(frame, *declared, looks=study.look_seeds)

    @functools.cached_property
    def diverged(self) -> pd.DataFrame:
        """How often each ordering diverged: ``runs``, ``diverged``, ``share``, ``low``, ``high`` and ``seeds``.

        One row a ``condition`` and ``ordering`` that did; the interval is Clopper and Pearson's at 95 %.
        """
        lost, rows = find_diverged(to_frame(self.runs)), []
        for condition, part in self.parts.items():
            for ordering, runs in part.groupby("ordering"):
                if seeds := runs["seed"][lost[runs.index]].tolist():
                    import scipy.stats  # slow to import, and only needed here

                    ends = scipy.stats.binomtest(len(seeds), len(runs)).proportion_ci(CONFIDENCE)
                    rows.append((condition, ordering, len(runs), len(seeds), len(seeds) / len(runs), *ends, seeds))
        columns = ["condition", "ordering", "runs", "diverged", "share", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    @functools.cached_property
    def tied(self) -> list[tuple[str, dict[str, Any], Comparison | None]]:
        """For each ordering whose settings were a tie: those that it was tied with, and the comparison at them.

        The comparison has that ordering's runs at the tied settings in place of its own; None where they are missing.
        """
        seeds = {*self.study.run_seeds[: self.needed_seeds]}
        found: list[tuple[str, dict[str, Any], Comparison | None]] = []
        for ordering, settings in self.study.ties.items():
            name = short_form(ordering)
            runs = [run for run in self.tied_runs if run.ordering == name]
            others = [run for run in self.runs if run.ordering != name]
            complete = {run.seed for run in runs} >= seeds
            found.append((name, settings, Results(self.study, [*others, *runs]) if complete else None))
        return found

    @functools.cached_property
    def planned_runs(self) -> pd.DataFrame:
        """The runs that the study plans, each with whether it is there, see ``normlib.studies.folder``."""
        return planned_runs(self.study, self.runs, self.needed_seeds)

    @functools.cached_property
    def rankings(self) -> pd.DataFrame:
        """How often a single seed would have given each ranking, see ``normlib.count_rankings``; of one condition."""
        return count_rankings(self.records, self.measure.column)

    @property
    def cost_runs(self) -> list[Record]:
        """A run of each instance whose cost is measured, which are those of the first condition."""
        first = set(next(iter(self.parts.values()))["key"])
        runs = {run.ordering: run for run in self.runs if run.key in first}
        return [runs[name] for name in order_orderings(list(runs))]

    @property
    def cost_instances(self) -> list[Instance]:
        """The instances of these runs, as the study has them, which knows where its data are; else as they were run."""
        known = {self.study.identify(instance.settings): instance for instance in self.study.instances}
        return [
            # "auto" takes the provider of this stack, which need not be that of the runs.
            known.get(self.study.identify(run.instance))
            or Instance.from_settings(**{**run.instance, "provider": "auto"})
            for run in self.cost_runs
        ]

    @property
    def question(self) -> str:
        """What the study asks, and after whom, in Markdown."""
        from normlib.report import sentences  # shown only

        return sentences.question(self.study)

    @property
    def findings(self) -> str:
        """What the study found, a sentence a contrast, in Markdown."""
        from normlib.report import sentences  # shown only

        return sentences.findings(self)

    @property
    def answer(self) -> str:
        """What the study found, in at most five sentences, in Markdown."""
        from normlib.report import answer, sentences  # shown only

        lines = [f"- {sentences.as_markdown(line)}" for line in answer.short_answer(self)]
        return "\n".join([f"In {self.measure.phrase}:", "", *lines])

    def plot_bars(self, measures: str | Sequence[str] | None = None) -> Any:
        """Draw a bar for each ordering, see ``normlib.plot_bars``."""
        from normlib.report import plots  # shown only

        return plots.plot_bars(self, measures)

    def table(self, name: str) -> Styler:
        """Return a table for a notebook: ``contrasts``, ``cost``, ``rankings``, ``gap``, ``results`` or ``provenance``.

        Raises:
            RequestError: There is no such table, or the cost was not measured.
        """
        from normlib.report import tables  # shown only

        return tables.show(self, name)

    def _repr_html_(self) -> str:
        """Return the question, what was found, and the tables of contrasts and results."""
        from normlib.report import cards  # shown only

        return cards.results_card(self)


@checked
def read_results(folder: str | Path) -> Results:
    """Read a study and its runs.

    A folder keeps also what was run before a setting of its study was changed; of that, nothing is compared. Orderings
    and seeds are not settings in this sense: those of earlier calls count.

    Args:
        folder: A study's output folder, or one of records; or the name of a study whose runs ship with normlib, such
            as ``source``.

    Raises:
        RequestError: There is no run of a study, or some must not be compared.
    """
    kept = kept_studies()
    return read_kept(str(folder)) if str(folder) in kept else read_folder(Path(folder), "folder", kept)


def kept_studies() -> list[str]:
    """Return the names of the studies whose records ship with normlib."""
    return sorted(path.stem for path in KEPT.glob("*.jsonl"))


def read_kept(name: str) -> Results:
    """Return a study whose records ship with normlib, its orderings' own settings chosen, and its runs."""
    study, records = read_study(name), read_records(KEPT / f"{name}.jsonl")
    study = tune(study, records) if study.tune else study
    return _make_results(study, records, KEPT / f"{name}.{COST_FILE}")


def earlier_runs(study: Study, folder: Path | None = None) -> Results | None:
    """Return runs by which a study can be planned: those of its folder, else the kept ones of the study of its name.

    None where there are none with the same contrasts, measure and conditions, or no contrast is declared.
    """
    if not study.declared:
        return None
    found = None
    with contextlib.suppress(RequestError):  # of what cannot be read nothing is expected
        if folder is not None and any((folder / "records").glob("*.json")):
            found = read_folder(folder)
    with contextlib.suppress(RequestError):  # those of a study that was declared anew are no runs of it
        if found is None and study.name in kept_studies():
            found = read_kept(study.name)
    asked = ("contrasts", "measure", "varies", "defaults")
    alike = found is not None and all(getattr(found.study, name) == getattr(study, name) for name in asked)
    return found if alike else None


def read_folder(folder: Path, setting: str = "DIR", names: Sequence[str] = ()) -> Results:
    """Return the study of an output folder, or of a folder of records, and its runs.

    Raises:
        RequestError: There are none; the message has the name of the setting, and proposes the nearest of some names.
    """
    if os.path.isdir(folder):  # and not Path's own test, which raises of what can be no path
        study, records = study_of_folder(folder), read_records(folder)
        if study.select(records):
            return _make_results(study, records, output_folder(folder) / COST_FILE)
    allowed = "a study's output folder, with at least one record in records/"
    raise RequestError(setting, str(folder), allowed, names=names)


def _make_results(study: Study, records: Sequence[Record], cost: Path) -> Results:
    tied = study.tied_version()
    results = Results(study, study.select(records), tied.select(records) if tied else [])
    results.cost = read_cost(cost, results.cost_runs)
    return results


def check_one_study(a: Results, b: Results) -> None:
    """Refuse what is not one study: sides that differ in more than where they were run, seeds and orderings.

    Compared are what varies, measure, margin and contrasts, and all settings and data of runs of the same condition and
    ordering, but for the library that provides GroupNorm: ``auto`` is another one on another stack. A contrast may be
    missing where its orderings are.

    Raises:
        RequestError: They differ, or have no ordering in common; the setting and both values are named.
    """
    for name in ("varies", "measure", "margin", "diverged"):
        _check_same(name, getattr(a.study, name), getattr(b.study, name))
    there = [{contrast.name: contrast for contrast in side.contrasts} for side in (a, b)]
    orderings = [{*map(short_form, side.study.orderings)} for side in (a, b)]
    for contrast in [*a.contrasts, *b.contrasts]:
        if all(names.issuperset(contrast.orderings) for names in orderings):
            _check_same(f"contrast {contrast.name}", *(str(side.get(contrast.name, "not declared")) for side in there))
    keys = ["ordering", *(next(iter(group)) for group in a.varies)]
    both = a.records.drop_duplicates(keys).merge(b.records.drop_duplicates(keys), on=keys, suffixes=("", " in B"))
    if both.empty:
        run = [", ".join(side.records["ordering"].unique()) for side in (a, b)]
        problem = f"the first folder has runs of {run[0]}: none is in both under the same conditions"
        raise RequestError("orderings", run[1], problem=problem)
    settings = [name for name in a.study.instances[0].settings if name not in (*keys, "provider")]
    for name in [*settings, "data"]:
        for _, run in both.iterrows():
            _check_same(f"{name} of {run['ordering']}", str(run[name]), str(run[f"{name} in B"]))


def _check_same(name: str, value_a: object, value_b: object) -> None:
    if value_a != value_b:
        problem = f"it is {value_a} in the first folder, and both must hold runs of one study"
        raise RequestError(name, value_b, problem=problem)
