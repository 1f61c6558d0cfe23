import pytest

from normlib.models.instance import Instance
from normlib.report import tables
from normlib.runs.store import load_original_stack


def test_figures_stand_beside_the_sources_with_their_meaning(make_record):
    evaluation = {"loss": 0.25, "accuracy": 0.9}
    table = tables.figures(Instance("gn/bn"), [make_record("gn/bn", 0, 0.46, 0.87, evaluation)])
    assert table["source"].tolist() == ["0.4598", "0.8695", "", "", "", ""]
    assert table["here"].tolist()[:5] == ["0.46000", "0.87000", "0.25000", "0.90000", "0.25000"]
    assert table["meaning"].iloc[0] == "mean over epoch 1 on test, while the weights change, dropout on"
    assert table["meaning"].iloc[3] == "on train[:10000], images not trained on, weights fixed, dropout off"


def test_it_is_said_when_images_that_were_trained_on_are_evaluated(make_record):
    settings = {"fit_split": "train[:5000]"}
    table = tables.figures(Instance(**settings), [make_record(**settings)])
    assert "5000 of 10000 images trained on" in table["meaning"].iloc[3]


def test_figures_of_several_runs_are_mean_and_standard_deviation(make_record):
    """0.3 and 0.5: mean 0.4, sd 0.2 / sqrt(2)."""
    records = [make_record("none", seed, loss) for seed, loss in enumerate((0.3, 0.5))]
    table = tables.figures(Instance("none"), records)
    assert table.loc["running training loss", "here"] == "0.40000 ± 0.14142"
    assert set(table["source"]) == {""}


def test_distance_from_the_source_is_in_its_twenty_runs_standard_deviations(make_record):
    original = load_original_stack().query("ordering == 'gn/bn'")["loss"]
    record = make_record("gn/bn", loss=original.mean() + 2 * original.std())
    assert tables.distance_from_source(Instance("gn/bn"), [record]).loc["loss", "distance"] == pytest.approx(2)


def test_there_is_no_distance_where_the_settings_are_not_the_sources(make_record):
    for settings in ({"ordering": "gn/bn", "epochs": 2}, {"ordering": "bn/bn"}):
        assert tables.distance_from_source(Instance(**settings), [make_record(**settings)]).empty


def test_the_takeaway_of_an_instance_names_the_sources_instance_by_the_code(make_record):
    sentence = tables.takeaway(Instance("gn/bn"), [make_record("gn/bn", 7, 0.46, 0.87)])
    assert sentence.startswith(
        "**gn/bn**, one run, seed 7: running training loss 0.46000, accuracy 0.87000 "
        "(the source's instance 3: 0.4598, 0.8695)"
    )


def test_where_a_record_was_made_is_one_line_that_the_sanitizer_knows(make_record):
    line = tables.made_with(make_record())
    assert line.startswith("made with: python 3.11.7, normlib 0.1.0, tensorflow 2.15.1")
    assert "\n" not in line
