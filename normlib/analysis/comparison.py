"""A comparison: runs of several orderings, what was declared of them, and all that follows, each computed once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from normlib.analysis.conditions import Varies, label
from normlib.analysis.contrasts import Contrast, Contrasts, Row, check_margin, family, read_contrasts
from normlib.analysis.planning import pairs_to_decide
from normlib.analysis.rankings import winners
from normlib.analysis.scores import read_scores
from normlib.analysis.statistics import CONDITIONS, split_records, summarize
from normlib.analysis.verdicts import judge, judge_at_looks
from normlib.errors import checked
from normlib.models.ordering import has_batch_norm
from normlib.runs.measures import MEASURES, READINGS, Measure, find_measure

GAP_PARTS = ("inference", "debiasing", "recalibration", "rest")
Columns: TypeAlias = Varies | Sequence[str]  # settings with their values, or columns with all that they hold


class Comparison:
    """Runs, and what is asked of them. What is read from it is computed when it is first needed, and once.

    Args:
        records: One row a run, as ``normlib.load_records`` gives; or any other table of one row a run.
        contrasts: Declared differences, as text by name: ``{"order": "bn/gn - gn/bn"}``.
        measure: What they are about: a column, such as ``train_loss``.
        margin: The largest difference in it, either way, that does not matter.
        varies: Settings that vary besides the ordering, see ``normlib.Study``; or the names of their columns.
        arm: The column that names what is compared.
        seed: The column by which runs are paired.
        looks: The seeds of each look at which contrasts are judged while runs are added; empty: of all that there are.

    Raises:
        RequestError: A contrast, measure or margin that is none, or runs that must not be compared.
    """

    def __init__(
        self,
        records: pd.DataFrame,
        contrasts: Contrasts = (),
        measure: str = "train_loss",
        margin: float = 0.01,
        varies: Columns = (),
        arm: str = "ordering",
        seed: str = "seed",
        looks: Sequence[range] = (),
    ):
        self.margin = check_margin(margin)
        # A table of normlib's runs has all their settings, which say which of them can be compared.
        is_of_runs = (arm, seed) == ("ordering", "seed") and {"ordering", "seed", *CONDITIONS} <= {*records.columns}
        self.scores = not is_of_runs
        if self.scores:
            records = read_scores(records, measure, arm, seed, varies)
        self.records, self.looks = records, looks
        self.varies: Varies = [
            {group: records[group].drop_duplicates().tolist()} if isinstance(group, str) else group for group in varies
        ]
        unlisted = self.scores and measure not in MEASURES
        self.measure = Measure(measure, measure, "") if unlisted else find_measure(measure)
        self.parts = split_records(records, self.varies)  # the runs of each condition, by its label
        self.contrasts = read_contrasts(contrasts, records["ordering"].unique(), self.varies, self.scores)
        self._summaries: dict[str, pd.DataFrame] = {}

    @functools.cached_property
    def estimates(self) -> pd.DataFrame:
        """The declared contrasts with their verdicts, as ``normlib.estimate`` gives them."""
        return self.judge(self.contrasts)

    @functools.cached_property
    def differences(self) -> list[pd.Series]:
        """The paired differences of each row of ``estimates``, indexed by seed."""
        return self.paired_differences(self.measure.column, self.contrasts)

    @functools.cached_property
    def reading_changes(self) -> pd.DataFrame:
        """By how much each contrast changes when BatchNorm's statistics are debiased or recalibrated, pair by pair.

        Changes of the measure's figure on the evaluation images, from how Keras evaluates it; judged as a family of
        their own. As ``estimates``, with ``reading``, and ``inference``, the contrast's mean as Keras evaluates; empty
        where no contrast has BatchNorm in it.
        """
        contrasts = [contrast for contrast in self.contrasts if any(map(has_batch_norm, contrast.orderings))]
        if self.scores or not contrasts:
            return pd.DataFrame()
        plain, *others = (
            self.paired_differences(self.measure.in_reading(reading).column, contrasts) for reading in READINGS
        )
        named = name_rows(family(contrasts, self.varies)).assign(inference=[pairs.mean() for pairs in plain])
        table = pd.concat([named.assign(reading=reading) for reading in READINGS[1:]], ignore_index=True)
        changes = [there - here for other in others for there, here in zip(other, plain, strict=True)]
        judged = judge(changes, self.margin, max(1, len(self.looks)))
        return pd.concat([table, judged], axis=1).set_index("name")

    @functools.cached_property
    def turning(self) -> pd.DataFrame:
        """The orderings of means without which a contrast's verdict would be another one.

        One row a contrast, condition and ordering: ``name``, ``condition``, ``ordering``, and what the rest then has as
        ``verdict``, ``mean``, ``low`` and ``high``, judged in the family in its place.
        """
        found: list[dict] = []
        for place, contrast in enumerate(self.contrasts):
            before = self.estimates.loc[[contrast.name]]
            for ordering in sorted(contrast.orderings):
                if rest := contrast.without(ordering):
                    others = [*self.contrasts[:place], rest, *self.contrasts[place + 1 :]]
                    after = self.judge(others).loc[[contrast.name]].reset_index().assign(ordering=ordering)
                    turned = after.apply(conclusion, axis=1) != before.apply(conclusion, axis=1).to_numpy()
                    found += after[turned].to_dict("records")
        return pd.DataFrame(found, columns=["name", "ordering", "condition", "verdict", "mean", "low", "high"])

    @functools.cached_property
    def winners(self) -> pd.DataFrame:
        """Which ordering has the best mean under each condition, see ``normlib.analysis.rankings.winners``."""
        return winners(self.parts, self.measure.column)

    @functools.cached_property
    def recalibrated_winners(self) -> pd.DataFrame:
        """The same with recalibrated statistics; that of the measure itself where it is one of training."""
        if not self.measure.reading:
            return self.winners
        return winners(self.parts, self.measure.in_reading("recalibrated").column)

    @functools.cached_property
    def gap(self) -> pd.DataFrame:
        """The evaluation loss, as Keras evaluates it, split into what the moving averages add and the rest.

        ``inference = removed by debiasing + removed beyond by recalibration + rest``, run by run. A part is negative
        where the step makes the loss higher. Indexed by condition and ordering, those that have BatchNorm; a column
        ``(part, figure)`` for each of the four parts and each figure of ``summarize``.
        """
        gaps = {}
        for condition, part in self.parts.items():
            runs = part[part["ordering"].map(has_batch_norm)]
            inference, debiased, recalibrated = (
                runs[MEASURES["eval_loss"].in_reading(reading).column] for reading in READINGS
            )
            split = (inference, inference - debiased, debiased - recalibrated, recalibrated)
            runs = runs.assign(**dict(zip(GAP_PARTS, split, strict=True)))
            if len(runs):
                gaps[condition] = pd.concat({name: summarize(runs, name) for name in GAP_PARTS}, axis=1)
        return pd.concat(gaps, names=["condition"]) if gaps else pd.DataFrame()

    def summary(self, measure: str) -> pd.DataFrame:
        """Return ``summarize`` of a measure, indexed by condition and ordering, in the order of both."""
        if measure not in self._summaries:
            parts = {condition: summarize(part, measure) for condition, part in self.parts.items()}
            self._summaries[measure] = pd.concat(parts, names=["condition"])
        return self._summaries[measure]

    def paired_differences(self, measure: str, contrasts: Sequence[Contrast]) -> list[pd.Series]:
        """Return the differences of contrasts, float, indexed by seed, for each row of their ``family``.

        Seeds with which not all orderings of a contrast were run are left out; a diverged run gives NaN.
        """
        return [self._differences(row, measure) for row in family(contrasts, self.varies)]

    def _differences(self, row: Row, measure: str) -> pd.Series:
        figures = []
        for term in row.contrast.terms:
            part = self.parts.get(label({**row.settings, **dict(term.condition)}, self.varies))
            if part is None:
                return pd.Series(dtype=float)
            figures.append(part[part["ordering"] == term.ordering].set_index("seed")[measure].astype(float))
        table = pd.concat(figures, axis=1, join="inner")
        return pd.Series(table.to_numpy() @ [term.weight for term in row.contrast.terms], index=table.index)

    def judge(self, contrasts: Sequence[Contrast]) -> pd.DataFrame:
        """Return contrasts, judged as one family, as ``estimates`` has the declared ones."""
        differences = self.paired_differences(self.measure.column, contrasts)
        looks = self.looks
        judged = judge_at_looks(differences, self.margin, looks) if looks else judge(differences, self.margin)
        frame = pd.concat([name_rows(family(contrasts, self.varies)), judged], axis=1).set_index("name")
        lower = frame.pop("first_lower")
        better = {"loss": lower, "accuracy": 1 - lower}.get(self.measure.figure, lower * np.nan)
        frame.insert(frame.columns.get_loc("differs_p"), "first_better", better)
        frame["seeds_needed"] = [
            pairs_to_decide(row["mean"], row["sd"], row["pairs"], self.margin, len(frame))
            if row["verdict"] == "undecided"
            else np.nan
            for _, row in frame.iterrows()
        ]
        if looks and (needed := self._needed(frame)) > frame["look"].max():  # another look, and no new study
            frame["next_look"] = frame["seeds_needed"].where(frame["seeds_needed"].isna(), needed)
            frame["seeds_needed"] = np.nan
        return frame

    def __str__(self) -> str:
        from normlib.report import answer  # shown only

        return "\n".join(answer.verdict_lines(self) or ["no contrast is declared"])

    def _repr_html_(self) -> str:
        """Return a line a contrast, and the table of contrasts."""
        from normlib.report import cards  # shown only

        return cards.comparison_card(self)

    @property
    def needed_seeds(self) -> int | None:
        """How many seeds a study with looks needs: up to where all is decided, or to the next look; None: no looks."""
        return self._needed(self.estimates) if self.looks else None

    def _needed(self, estimates: pd.DataFrame) -> int:
        last = estimates["look"].max()  # NaN where none was taken
        further = [len(seeds) for seeds in self.looks if not len(seeds) <= last]
        is_open = (estimates["verdict"] == "undecided") & estimates["mean"].notna()
        return further[0] if further and (is_open.any() or np.isnan(last)) else int(last)


def name_rows(rows: Sequence[Row]) -> pd.DataFrame:
    """Return a row a member of a family: ``name``, ``condition`` and ``contrast``, all text."""
    named = [(row.contrast.name, row.condition, str(row.contrast)) for row in rows]
    return pd.DataFrame(named, columns=["name", "condition", "contrast"])


@checked
def estimate(
    records: pd.DataFrame,
    contrasts: Contrasts,
    measure: str,
    margin: float,
    varies: Columns = (),
    arm: str = "ordering",
    seed: str = "seed",
) -> pd.DataFrame:
    """Estimate declared contrasts and say of each what can be said.

    The interval is Student's t on the paired differences. The verdict is that of paired t tests, corrected by Holm's
    procedure over the family, which is all contrasts under all conditions; see ``docs/statistics.md`` for how often it
    was wrong in simulated studies.

    Args:
        records: One row a run, as ``load_records`` gives; or any table of one row a run, from whatever framework.
        contrasts: The declared contrasts, as text by name: ``{"order": "bn/gn - gn/bn"}``; see ``Contrast.parse``.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter; in the measure's unit.
        varies: What varies besides the ordering: settings with their values, or the names of their columns. Each
            contrast is estimated under each condition, unless it names conditions itself.
        arm: The column that names what is compared.
        seed: The column by which runs are paired.

    Returns:
        Indexed by the contrast's name: ``condition``, empty where nothing varies; ``contrast``; ``pairs``; ``mean``,
        ``sd``, ``low``, ``high``, of the difference; ``skewness``, of its pairs; ``first_better``, the share of pairs
        in which the first side is better (lower in loss, higher in accuracy), ties counted half, NaN of a measure that
        is neither; ``differs_p`` and ``level_p``, corrected by Holm; ``verdict``:

        - *differs*: the t test holds at a nominal level of 2 % for the whole family;
        - *level*: two one-sided t tests against the margin hold, at one of 1.25 %;
        - *differs negligibly*: both;
        - *undecided*: neither; ``seeds_needed``, for planning a new study, says how many pairs would decide if all were
          like these.

        A contrast or condition without runs stays in the family, with no pairs. With one pair, none or a diverged run,
        all but ``pairs`` is NaN and the verdict is *undecided*.

    Raises:
        RequestError: A contrast, measure or margin that is none, or runs that must not be compared.
    """
    return Comparison(records, contrasts, measure, margin, varies, arm, seed).estimates


@checked
def seeds_needed(
    records: pd.DataFrame, contrast: Contrast | str, margin: float, measure: str = "train_loss", family: int = 1
) -> float:
    """Return how many seeds a new study would need to decide a contrast, if its pairs are like those that there are.

    Decided is a contrast that differs or is level, see ``estimate``. It is for planning: about one study in two of that
    size decides. To add seeds to a study that was looked at raises its error; a study with ``looks`` may.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrast: The contrast, such as ``"bn/gn - gn/bn"``.
        margin: The largest difference, either way, that does not matter.
        measure: A column, such as ``train_loss``.
        family: Number of contrasts, times conditions, that are declared together and corrected for.

    Returns:
        A whole number of pairs, the present ones if they decide; infinity where more than 10,000 are needed; NaN where
        there are fewer than two, or a diverged run.
    """
    contrasts = {"contrast": contrast} if isinstance(contrast, str) else [contrast]
    row = estimate(records, contrasts, measure, margin).iloc[0]
    return pairs_to_decide(row["mean"], row["sd"], max(2, row["pairs"]) - 1, margin, family)


def conclusion(row: pd.Series) -> str:
    """Return a verdict with its direction; to differ negligibly and to be level are one: it does not matter."""
    if row["verdict"] == "differs":
        return "differs, lower" if row["mean"] < 0 else "differs, higher"
    return "undecided" if row["verdict"] == "undecided" else "level"


def as_comparison(
    records: pd.DataFrame | Comparison, arm: str = "ordering", seed: str = "seed", **asked: Any
) -> Comparison:
    """Return runs as a comparison.

    Args:
        records: One row a run, as ``normlib.load_records`` gives; or a comparison, such as ``normlib.Results``.
        arm: As ``Comparison`` takes it.
        seed: Likewise.
        **asked: ``contrasts``, ``measure``, ``margin`` and ``varies``, likewise; what is None, or not there, is the
            comparison's own, or, of a table of runs, the default.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    if not isinstance(records, Comparison):
        return Comparison(records, arm=arm, seed=seed, **asked)
    if not asked:
        return records
    own = {name: getattr(records, name) for name in ("contrasts", "margin", "varies", "looks")}
    return Comparison(records.records, **{**own, "measure": records.measure.column, **asked}, arm=arm, seed=seed)
