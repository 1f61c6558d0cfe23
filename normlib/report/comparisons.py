"""Comparison: the runs of some orderings as a table that notebooks show by ordering, best first."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from normlib.analysis import conditions
from normlib.analysis.statistics import MEASURES, summarize
from normlib.models.instance import Instance
from normlib.report import cards, tables
from normlib.report.boxes import boxes


class Comparison(pd.DataFrame):
    """One row a run, as ``normlib.load_records`` gives; what is selected of it is a plain DataFrame.

    Args:
        runs: The table of runs, of one condition.
        instances: The instances that were run.
    """

    _metadata = ["instances"]  # noqa: RUF012  (pandas' way to name an attribute that is no column)

    def __init__(self, runs: pd.DataFrame, instances: Sequence[Instance]):
        super().__init__(runs)
        self.instances = list(instances)

    def _repr_html_(self) -> str:
        """Return means by ordering, best first, with small pictures; settings that differ; then all runs."""
        means = summarize(self, "train_loss")["mean"].sort_values()
        results = tables.results(self).drop(columns="source's label", errors="ignore")
        drawn = [(instance.ordering, cards.picture(boxes(instance))) for instance in self.instances]
        title = f"{len(self)} runs of {len(means)} orderings, by {MEASURES['train_loss']}, lowest first"
        shared = {name: value for name, value in self.instances[0].settings.items() if name != "ordering"}
        return cards.card(
            title,
            f"It holds for {conditions.in_words(self)}.",
            cards.table(
                "Means over runs and their 95 % intervals",
                ["ordering", *results.columns],
                results.loc[means.index].itertuples(),
            ),
            cards.table("What stands where", ["ordering", "from image to class"], drawn),
            cards.settings(shared, Instance().settings),
            cards.folded("All runs", cards.Markup(pd.DataFrame(self).to_html())),
        )
