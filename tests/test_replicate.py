"""The table of further seeds: which published differences it is about, and when one keeps its sign."""

from types import SimpleNamespace

import pandas as pd
import scripts


def test_differences_that_were_published_are_held_against_further_seeds_by_name_and_condition():
    def results(means, verdicts=("differs", "undecided", "differs negligibly")):
        index = pd.MultiIndex.from_tuples(
            [("kind", "b 2"), ("kind", "b 4"), ("order", "")], names=["name", "condition"]
        )
        columns = {"contrast": "bn - gn", "pairs": 8, "mean": means, "low": -1.0, "high": 1.0, "verdict": verdicts}
        estimates = pd.DataFrame(columns, index)
        return SimpleNamespace(study=SimpleNamespace(name="small"), estimates=estimates.reset_index("condition"))

    again = results([-0.2, 0.1, 0.3], ["undecided"] * 3)
    again.estimates = again.estimates.iloc[::-1]  # rows are found by what they are, not by their place
    rows = scripts.load("replicate").compare(results([0.1, 0.1, 0.01]), again)
    assert rows[["study", "name", "condition", "mean", "mean_again", "same_sign"]].to_numpy().tolist() == [
        ["small", "kind", "b 2", 0.1, -0.2, False],
        ["small", "order", "", 0.01, 0.3, True],
    ]
