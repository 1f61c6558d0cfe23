import math

import pandas as pd
import pytest

from normlib.analysis import rankings
from normlib.errors import RequestError

LOSSES = {"bn": [0.40, 0.45, 0.40, 0.40], "gn": [0.42, 0.44, 0.42, 0.42], "none": [0.50, 0.50, 0.41, 0.50]}


def test_rankings_are_counted_seed_by_seed(make_frame):
    found = rankings.count_rankings(make_frame(LOSSES), "train_loss")
    assert found["seeds"].to_dict() == {
        "bn/none < gn/none < none/none": 2,
        "gn/none < bn/none < none/none": 1,
        "bn/none < none/none < gn/none": 1,
    }
    assert found["share"].tolist() == [0.5, 0.25, 0.25]


def test_of_accuracies_the_highest_comes_first_and_equal_figures_are_in_no_order(make_frame):
    found = rankings.count_rankings(make_frame(LOSSES), "train_accuracy", ["bn/none", "gn/none"])
    assert found["seeds"].to_dict() == {"bn/none > gn/none": 3, "gn/none > bn/none": 1}
    found = rankings.count_rankings(make_frame({"bn": [0.5], "gn": [0.4], "none": [0.4]}), "train_loss")
    assert found.index.tolist() == ["gn/none = none/none < bn/none"]


def test_seeds_with_a_missing_or_diverged_run_give_no_ranking_and_no_place(make_frame):
    found = rankings.count_rankings(make_frame({"bn": [0.4, 0.4, 0.4], "gn": [0.5, math.nan]}), "train_loss")
    assert found["seeds"].tolist() == [1]
    for diverged in (math.inf, math.nan):
        frame = make_frame({"bn": [0.4, 0.4], "gn": [diverged, diverged]})
        assert rankings.count_rankings(frame, "train_loss").empty
        assert rankings.places(frame, "train_loss").to_numpy().sum() == 0


def test_places_are_shares_of_seeds_the_best_mean_first(make_frame):
    """Means 0.4125, 0.425 and 0.4775."""
    shares = rankings.places(make_frame(LOSSES), "train_loss")
    assert shares.index.tolist() == ["bn/none", "gn/none", "none/none"]
    assert shares.to_numpy().tolist() == [[0.75, 0.25, 0], [0.25, 0.5, 0.25], [0, 0.25, 0.75]]


def test_the_winner_is_compared_with_the_next_best_pair_by_pair(make_frame):
    """By hand: gn is 0.02, -0.01, 0.02, 0.02 above bn, mean 0.0125; t with three degrees is 3.182446."""
    (row,) = rankings.winners({"": make_frame(LOSSES)}, "train_loss").to_dict("records")
    assert (row["winner"], row["rival"], row["pairs"], row["first"], row["seeds"]) == ("bn/none", "gn/none", 4, 3, 4)
    assert (row["mean"], row["lead"], row["baseline_lead"]) == pytest.approx((0.4125, 0.0125, 0.065))
    reach = 3.182446 * pd.Series([0.02, -0.01, 0.02, 0.02]).std() / 2
    assert (row["low"], row["high"]) == pytest.approx((0.0125 - reach, 0.0125 + reach), rel=1e-5)


def test_means_are_those_of_the_bars_also_where_runs_are_missing(make_frame):
    """With the seeds that both have, none is best; over all runs bn is, as the bars show it."""
    losses = {"bn": [0.5, 0.1, 0.1], "none": [0.4]}
    (row,) = rankings.winners({"": make_frame(losses)}, "train_loss").to_dict("records")
    assert (row["winner"], row["pairs"]) == ("bn/none", 1)
    assert row["lead"] == pytest.approx(-0.1)
    assert math.isnan(row["low"])


def test_there_is_a_winner_for_each_condition_and_none_among_the_diverged(make_frame):
    parts = [
        make_frame({"bn": [0.4, 0.4], "none": [0.4, 0.5]}, batch_size=32),
        make_frame({"bn": [0.4, math.nan], "gn": [0.6, 0.6], "none": [0.5, 0.5]}, batch_size=64),
        make_frame({"bn": [math.nan], "none": [0.5]}, batch_size=128),
    ]
    found = rankings.winners({f"batch_size {part['batch_size'].iloc[0]}": part for part in parts}, "train_loss")
    assert found["winner"].to_dict() == {"batch_size 32": "bn/none", "batch_size 64": "none/none"}
    assert found[["first", "seeds"]].to_numpy().tolist() == [[2, 2], [2, 2]]  # those who tie are all first


def test_runs_of_several_conditions_are_not_ranked_together(make_frame):
    """With the same seeds they cannot be told apart, with other ones they would be taken for further seeds."""
    frame = make_frame({"bn": [0.4, 0.5], "none": [0.5, 0.4]})
    other = frame.assign(batch_size=64)
    for mixed in (pd.concat([frame, other]), pd.concat([frame, other.assign(seed=other["seed"] + 7)])):
        for count in (rankings.count_rankings, rankings.places):
            with pytest.raises(RequestError, match=r"^records is 'batch_size of 32 and 64', but"):
                count(mixed, "train_loss")


def test_an_ordering_that_has_no_run_is_refused_and_not_passed_over(make_frame):
    with pytest.raises(RequestError, match="orderings is 'bn', but must be one of bn/none, gn/none, none/none"):
        rankings.count_rankings(make_frame(LOSSES), "train_loss", ["bn", "gn/none"])
