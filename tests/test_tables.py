import pytest

from normlib import tables


def test_figures_stand_beside_the_sources_with_their_meaning(make_record):
    evaluation = {"loss": 0.25, "accuracy": 0.9}
    table = tables.figures([make_record("gn/bn", 0, 0.46, 0.87, evaluation)])
    assert table["source"].tolist() == ["0.4598", "0.8695", "", ""]
    assert table["here"].tolist() == ["0.46000", "0.87000", "0.25000", "0.90000"]
    assert table["meaning"].iloc[0] == "mean over epoch 1 on test, while the weights change, dropout on"
    assert table["meaning"].iloc[3] == "on train[:10000], images not trained on, weights fixed, dropout off"


def test_it_is_said_when_images_that_were_trained_on_are_evaluated(make_record):
    table = tables.figures([make_record(fit_split="train[:5000]")])
    assert "5000 of 10000 images trained on" in table["meaning"].iloc[3]


def test_the_sources_figures_stand_only_beside_runs_of_its_protocol(make_record, make_frame):
    record = make_record("gn/bn", epochs=2)
    assert tables.figures([record])["source"].tolist() == ["", "", "", ""]
    assert "source's" not in tables.instance_takeaway([record])
    frame = make_frame({"bn": [0.4], "gn": [0.5]}, activation="relu")
    assert not [column for column in tables.results(frame) if "source" in column]
    assert "The source" not in tables.takeaway(frame)


def test_figures_of_several_runs_are_mean_and_standard_deviation(make_record):
    """0.3 and 0.5: mean 0.4, sd 0.2 / sqrt(2)."""
    table = tables.figures([make_record("none", seed, loss) for seed, loss in enumerate((0.3, 0.5))])
    assert table.loc["running training loss", "here"] == "0.40000 ± 0.14142"
    assert table["source"].tolist() == ["", "", "", ""]


def test_distance_from_the_source_is_in_its_twenty_runs_standard_deviations(make_record):
    original = tables.load_original_stack().query("ordering == 'gn/bn'")["loss"]
    record = make_record("gn/bn", loss=original.mean() + 2 * original.std())
    assert tables.distance_from_source([record]).loc["loss", "distance"] == pytest.approx(2)


def test_there_is_no_distance_where_the_settings_are_not_the_sources(make_record):
    assert tables.distance_from_source([make_record("gn/bn", epochs=2)]).empty
    assert tables.distance_from_source([make_record("bn/bn")]).empty


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
        "All of it holds for source_cnn with no activation after its convolutions, fitted on mnist test, 1 epoch, "
        "batches of 32, Adam at 0.001."
    )


def test_the_takeaway_of_an_instance_names_the_sources_instance_by_the_code(make_record):
    sentence = tables.instance_takeaway([make_record("gn/bn", 7, 0.46, 0.87)])
    assert sentence.startswith(
        "**gn/bn**, one run, seed 7: running training loss 0.46000, accuracy 0.87000 "
        "(the source's instance 3: 0.4598, 0.8695)"
    )


def test_provenance_names_settings_stack_and_seeds(make_frame):
    facts = tables.provenance(make_frame({"bn": [0.4, 0.5], "none": [0.4, 0.5]}))["value"]
    assert facts["groups"] == "the model's own: 5"
    assert facts["stack"] == "tensorflow 2.15.1, tensorflow-addons 0.23.0"
    assert facts["seeds"] == "2, from 0 to 1"


def test_where_a_record_was_made_is_one_line_that_the_sanitizer_knows(make_record):
    line = tables.made_with(make_record())
    assert line.startswith("made with: python 3.11.7, normlib 0.1.0, tensorflow 2.15.1")
    assert "\n" not in line
