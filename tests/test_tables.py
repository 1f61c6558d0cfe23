import numpy as np
import pytest

from normlib import contrasts, instance_tables, tables


def test_the_sources_figures_stand_only_beside_runs_of_its_protocol(make_record, make_frame):
    record = make_record("gn/bn", epochs=2)
    assert set(instance_tables.figures([record])["source"]) == {""}
    assert "source's" not in instance_tables.takeaway([record])
    frame = make_frame({"bn": [0.4], "gn": [0.5]}, activation="relu")
    assert not [column for column in tables.results(frame) if "source" in column]
    assert "The source" not in tables.takeaway(frame)


def test_the_twenty_runs_on_the_sources_own_stack_are_those_that_were_measured():
    """Mean loss over 20 seeds, as measured on TensorFlow 2.2.0 and addons 0.10.0."""
    original = tables.load_original_stack().groupby("ordering")["loss"]
    assert original.count().eq(20).all()
    assert original.mean().round(4).to_dict() == {
        "bn/gn": 0.4603, "bn/none": 0.4323, "gn/bn": 0.4650, "gn/none": 0.4331, "none/none": 0.3990,
    }  # fmt: skip


def test_results_give_label_source_and_means_for_each_ordering(make_frame):
    table = tables.results(make_frame({"bn/gn": [0.45, 0.47], "gn/bn": [0.5], "none": [0.4, 0.4]}))
    assert table.index.tolist() == ["gn/bn", "bn/gn", "none/none"]
    assert table.loc["gn/bn", "source's label"] == "3, “Batch and then Group”"
    assert table.loc["bn/gn", "source: loss, accuracy"] == "0.4683, 0.8658"
    # The mean of 0.45 and 0.47, and 12.7062 (t, one degree of freedom) times 0.01 around it.
    assert table.loc["bn/gn", "training loss"] == "0.4600 [0.3329, 0.5871]"
    assert table.loc["gn/bn", "training loss"] == "0.5000"
    assert table.loc["none/none", ["runs", "source: loss, accuracy"]].tolist() == ["2", ""]


def test_the_takeaway_ranks_by_mean_loss_beside_the_sources_ranking(make_frame):
    frame = make_frame({"bn": [0.44, 0.46], "gn": [0.41, 0.43], "none": [0.39, 0.41]})
    sentence = tables.takeaway(frame)
    assert "lowest first** (2 runs an ordering): none/none 0.4000, gn/none 0.4200, bn/none 0.4500." in sentence
    assert "ranked bn/none, gn/none, gn/bn, bn/gn." in sentence
    assert sentence.endswith(
        "It holds for source_cnn with no activation after its convolutions, fitted on mnist test, 1 epoch, "
        "batches of 32, Adam at 0.001."
    )


def test_provenance_names_settings_stack_and_seeds(make_frame):
    facts = tables.provenance(make_frame({"bn": [0.4, 0.5], "none": [0.4, 0.5]}))["value"]
    assert facts["groups"] == "the model's own: 5"
    assert facts["stack"] == "tensorflow 2.15.1, tensorflow-addons 0.23.0"
    assert facts["seeds"] == "2, from 0 to 1"


def family(records, *texts):
    orderings = records["ordering"].unique()
    declared = [contrasts.Contrast.parse(text, text, orderings) for text in texts]
    return contrasts.estimate(records, declared, "train_loss", margin=0.02)


def test_verdicts_are_said_in_sentences_with_their_conditions(make_frame):
    """A clear winner, two that are level, two that need more seeds."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.001, size=(3, 8))
    records = make_frame(
        {"bn": 0.4 + noise[0], "gn": 0.5 + noise[1], "bn/gn": 0.4 + noise[2], "none": generator.normal(0.4, 0.1, 8)}
    )
    texts = ("bn/none - gn/none", "bn/none - bn/gn", "bn/none - none/none")
    said = tables.verdict_sentences(family(records, *texts), records, "train_loss", 0.02).splitlines()
    assert said[0].startswith(
        "In running training loss, for source_cnn with no activation after its convolutions, fitted on mnist"
    )
    assert "bn/none - gn/none differ (-0.0988 [" in said[2]
    assert "bn/none - bn/gn are level: the difference lies within the margin of 0.02 (" in said[3]
    assert "bn/none - none/none are not told apart yet; about " in said[4]
    assert said[4].count("8 pairs") == 1


@pytest.mark.parametrize(
    ("losses", "reason"), [([0.4], "fewer than two pairs of runs"), ([0.4, np.nan, 0.5], "a run diverged")]
)
def test_it_is_said_when_nothing_can_be_said(make_frame, losses, reason):
    records = make_frame({"bn": losses, "gn": [0.5] * len(losses)})
    estimates = family(records, "bn/none - gn/none")
    assert f"nothing can be said ({reason})" in tables.verdict_sentences(estimates, records, "train_loss", 0.02)
    assert tables.verdicts(estimates).iloc[0].tolist()[2:] == ["", "", "", "undecided"]


def test_where_few_pairs_cannot_give_a_small_p_it_is_said_instead_of_printing_one(make_frame):
    estimates = family(make_frame({"bn": [0.1, 0.2, 0.3], "gn": [0.5, 0.6, 0.71]}), "bn/none - gn/none")
    assert tables.verdicts(estimates)["p (Holm)"].tolist() == ["3 pairs cannot give p below 0.25"]


def test_where_no_contrast_was_declared_it_is_said(make_frame):
    records = make_frame({"bn": [0.4, 0.5]})
    assert tables.verdicts(family(records)).empty
    assert tables.verdict_sentences(family(records), records, "train_loss", 0.02) == "No contrasts were declared."


def test_conditions_name_what_differs_from_the_defaults_and_where_it_was_evaluated(make_frame):
    records = make_frame({"bn": [0.4, 0.5], "gn": [0.5, 0.5]}, momentum=0.9)
    assert tables.conditions(records).endswith("Adam at 0.001, momentum 0.9")
    declared = [contrasts.Contrast.parse("kind", "bn - gn", ["bn/none", "gn/none"])]
    estimates = contrasts.estimate(records, declared, "eval_loss", 0.02)
    said = tables.verdict_sentences(estimates, records, "eval_loss", 0.02)
    assert said.startswith("In evaluation loss on train[:10000], for source_cnn")
