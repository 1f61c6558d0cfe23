import math

import pandas as pd

from normlib.report import sentences


def test_the_baseline_wins_or_it_is_said_that_it_does_not(make_frame):
    (said,) = sentences.baseline_sentences(make_frame({"none": [0.3, 0.3], "bn": [0.4, 0.42]}), "train_loss")
    assert said.startswith("By means, the baseline none/none is best, 0.3000: 0.1100 [")
    said = sentences.baseline_sentences(make_frame({"none": [0.4, 0.4], "bn": [0.3, 0.42]}), "train_loss")
    assert said[0] == "The baseline, none/none, does not have the best mean."
    assert "ahead of the baseline none/none, which is not clear of zero, and first with 1 of 2 seeds." in said[1]


def test_without_pairs_the_best_mean_stands_alone(make_frame):
    frame = make_frame({"none": [0.3], "bn": [0.4, 0.4]})
    frame.loc[frame["ordering"] == "none/none", "seed"] = 7
    (said,) = sentences.baseline_sentences(frame, "train_loss")
    assert (
        said == "By means, the baseline none/none is best, 0.3000: no pairs with bn/none, and first with 0 of 0 seeds."
    )


def test_nothing_is_said_of_a_baseline_that_was_not_run_or_stands_alone(make_frame):
    assert sentences.baseline_sentence(make_frame({"bn": [0.4]}), "train_loss").endswith("was not run.")
    alone = make_frame({"none": [0.4], "bn": [math.nan]})
    assert sentences.baseline_sentence(alone, "train_loss").startswith("Nothing can be said of the baseline")


def test_where_recalibration_would_turn_the_answer_it_is_said(make_frame):
    """As Keras evaluates it bn/none loses under both conditions; recalibrated it wins under one."""
    varies = [{"batch_size": [32, 64]}]

    def evaluated(size):
        def evaluate(ordering, seed):
            inference, recalibrated = (0.3, 0.3) if ordering == "none" else (0.9, 0.2 if size == 64 else 0.4)
            losses = {"inference": inference, "debiased": recalibrated, "recalibrated": recalibrated}
            return {reading: {"loss": loss, "accuracy": 0.9} for reading, loss in losses.items()}

        return evaluate

    frame = pd.concat(
        make_frame({"bn": [0.4] * 2, "none": [0.4] * 2}, evaluation=evaluated(size), batch_size=size)
        for size in (32, 64)
    )
    said = sentences.baseline_sentences(frame, "eval_loss", varies)
    assert said[0].endswith(
        "under 2 of 2 conditions: batch_size 32; batch_size 64. With recalibrated statistics it would be 1."
    )
    assert "recalibrated" not in said[1]
    assert said[2].endswith("; recalibrated, it would be bn/none.")


def test_the_sources_ranking_is_held_against_the_means_and_each_seed(make_frame):
    """Source: bn/none < gn/none < gn/bn < bn/gn. Here gn/bn and bn/gn change places in one seed of three."""
    values = {"bn": [0.1] * 3, "gn": [0.2] * 3, "gn/bn": [0.3, 0.3, 0.4], "bn/gn": [0.35] * 3, "none": [0.0] * 3}
    (said,) = sentences.source_sentences(make_frame(values))
    assert "bn/none < gn/none < gn/bn < bn/gn, is that of the means here; 2 of 3 seeds give it, and 2 different" in said
    values["gn/bn"] = [0.3, 0.4, 0.4]
    (said,) = sentences.source_sentences(make_frame(values))
    assert "is not that of the means here, bn/none < gn/none < bn/gn < gn/bn; 1 of 3 seeds give it" in said
    assert sentences.source_sentences(make_frame(values, activation="relu")) == []
    one_seed = {ordering: losses[:1] for ordering, losses in values.items()}
    assert sentences.source_sentences(make_frame(one_seed)) == []
    assert sentences.source_sentences(make_frame({**values, "bn": [math.nan] * 3})) == []


def test_the_ranking_by_means_stands_beside_the_sources(make_frame):
    frame = make_frame({"bn": [0.44, 0.46], "gn": [0.41, 0.43], "none": [0.39, 0.41]})
    sentence = sentences.ranking_sentence(frame)
    assert "lowest first** (2 runs an ordering): none/none 0.4000, gn/none 0.4200, bn/none 0.4500." in sentence
    assert "ranked bn/none, gn/none, gn/bn, bn/gn." in sentence
    assert sentence.endswith("batches of 32, Adam at 0.001.")
