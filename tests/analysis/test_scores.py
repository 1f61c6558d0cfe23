"""Scores: any table of one row a run gives the verdicts that normlib's own records give."""

import numpy as np
import pandas as pd
import pytest

import normlib
from normlib.errors import RequestError

GAIN = {"gain": "ours - theirs"}


@pytest.fixture
def frame():
    """Eight seeds: ours is 0.02 higher at 1e-3, level at 1e-2."""
    noise = np.random.default_rng(0).normal(0, 0.002, (4, 8))
    gains = {("ours", 0.001): 0.92, ("theirs", 0.001): 0.90, ("ours", 0.01): 0.9, ("theirs", 0.01): 0.9}
    return pd.DataFrame(
        {"model": model, "lr": rate, "run": seed, "score": gain + noise[place, seed], "note": f"{place}{seed}"}
        for place, ((model, rate), gain) in enumerate(gains.items())
        for seed in range(8)
    )


def estimate(frame, contrasts=GAIN, measure="score", margin=0.01, arm="model", seed="run", **options):
    return normlib.estimate(frame, contrasts, measure=measure, margin=margin, arm=arm, seed=seed, **options)


def test_a_tidy_table_from_anywhere_is_judged(frame):
    found = estimate(frame, varies=["lr"])
    assert found["condition"].tolist() == ["lr 0.001", "lr 0.01"]
    assert found["verdict"].tolist() == ["differs", "level"]
    assert found["pairs"].tolist() == [8, 8]
    assert found["first_better"].isna().all()  # nobody said whether a high score is good
    across = estimate(frame, {"more": "(ours - theirs) at lr 0.001 - (ours - theirs) at lr 0.01"}, varies=["lr"])
    assert across["mean"].iloc[0] == pytest.approx(found["mean"].iloc[0] - found["mean"].iloc[1])


def test_names_may_look_like_orderings_and_are_none(frame):
    renamed = frame.replace({"model": {"ours": "bn", "theirs": "gn v2"}})
    found = estimate(renamed[renamed["lr"] == 0.001], {"gain": "bn - mean(gn v2)"})
    assert found["verdict"].tolist() == ["differs"]


def test_the_same_figures_from_records_and_from_a_plain_table_get_the_same_verdicts():
    results = normlib.read_results("source")
    plain = results.records[["ordering", "seed", "train_loss"]].rename(columns={"ordering": "arm"})
    texts = {contrast.name: str(contrast) for contrast in results.contrasts}
    found = normlib.estimate(plain, texts, "train_loss", 0.01, arm="arm")
    pd.testing.assert_frame_equal(found, results.estimates)


def test_a_score_that_is_no_number_is_a_diverged_run(frame):
    frame.loc[0, "score"] = np.inf
    found = estimate(frame, varies=["lr"])
    assert found["verdict"].tolist() == ["undecided", "level"]
    assert np.isnan(found["mean"].iloc[0])


def test_contrasts_of_scores_are_drawn(frame):
    _, axis = normlib.plot_contrasts(frame, GAIN, measure="score", margin=0.01, varies=["lr"], arm="model", seed="run")
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "differs: gain\nlr 0.001",
        "level: gain\nlr 0.01",
    ]
    assert axis.get_xlabel() == "difference in score"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, "records is 'ours, seed 0, twice', but a comparison has each run once; a column that tells these"),
        ({"score": "x"}, {"varies": ["lr"]}, "measure is 'score', but must be a column of real numbers"),
        ({"score": True}, {"varies": ["lr"]}, "measure is 'score', but must be a column of real numbers"),
        ({"model": "a - b"}, {"varies": ["lr"]}, "a name in model is 'a - b', but a name in a contrast has none of"),
        ({"model": "mean(a)"}, {"varies": ["lr"]}, "a name in model is 'mean.a.', but a name in a contrast has none"),
        ({"model": None}, {"varies": ["lr"]}, "arm is 'model', but a row has no value in it"),
        ({"run": None}, {"varies": ["lr"]}, "seed is 'run', but a row has no value in it"),
        ({}, {"arm": "modle"}, "arm is 'modle', but must be one of the columns model, lr, run, score, note .did you"),
        ({}, {"seed": "seed"}, "seed is 'seed', but must be one of the columns"),
        ({}, {"varies": ["rate"]}, "varies is 'rate', but must be one of the columns"),
        ({"score": 1j}, {"varies": ["lr"]}, "measure is 'score', but must be a column of real numbers"),
        ({}, {"measure": "run"}, "a column is 'run', but arm, seed, measure and what varies must be different columns"),
        ({"ordering": 1}, {"varies": ["ordering"]}, "a column is 'ordering', but the arm is called 'ordering' and the"),
        ({"lr": None}, {"varies": ["lr"]}, "varies is 'lr', but a row has no value in it"),
        ({"lr": pd.Timestamp("2026-11-25")}, {"varies": ["lr"]}, "varies is 'lr', but must be a column of texts or"),
        ({}, {"varies": ["lr"], "margin": 0}, "margin is 0, but must be a positive, finite number"),
        ({}, {"varies": ["lr"], "contrasts": {"x": "ours - thiers"}}, "'thiers', but must be one of ours, theirs"),
    ],
)
def test_what_is_no_table_of_scores_is_refused_in_one_line(frame, change, options, message):
    with pytest.raises(RequestError, match=message) as refused:
        estimate(frame.assign(**change), **options)
    assert "\n" not in str(refused.value)


def test_a_column_that_is_there_twice_is_refused(frame):
    twice = pd.concat([frame, frame[["score"]]], axis=1)
    with pytest.raises(RequestError, match="a column is 'score', but arm, seed, measure and what varies"):
        estimate(twice, varies=["lr"])


def test_seeds_of_any_kind_and_an_index_that_repeats_pair_runs(frame):
    one = frame[frame["lr"] == 0.001].assign(run=lambda table: table["run"].map(lambda seed: seed if seed % 2 else "s"))
    mixed = one[one["run"] != "s"].replace({"run": {1: "one"}})
    assert estimate(mixed.set_index(np.zeros(len(mixed), int)))["pairs"].tolist() == [4]
    categorical = mixed.astype({"model": "category", "run": "str"})
    pd.testing.assert_frame_equal(estimate(categorical), estimate(mixed))
