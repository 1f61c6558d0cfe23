import re

import pandas as pd
import pytest

from normlib.analysis.comparison import Comparison, estimate
from normlib.report import tables
from normlib.runs.store import load_original_stack


def test_results_give_label_source_and_means_for_each_ordering(make_frame):
    table = tables.result_table(Comparison(make_frame({"bn/gn": [0.45, 0.47], "gn/bn": [0.5], "none": [0.4, 0.4]})))
    assert table.index.tolist() == ["gn/bn", "bn/gn", "none/none"]
    assert table.loc["gn/bn", "source's label"] == "3, “Batch and then Group”"
    assert table.loc["bn/gn", "source: loss, accuracy"] == "0.4683, 0.8658"
    # The mean of 0.45 and 0.47, and 12.7062 (t, one degree of freedom) times 0.01 around it.
    assert table.loc["bn/gn", "running training loss"] == "0.4600 [0.3329, 0.5871]"
    assert table.loc["gn/bn", "running training loss"] == "0.5000"
    assert table.loc["none/none", ["runs", "source: loss, accuracy"]].tolist() == ["2", ""]


def test_provenance_names_settings_stack_and_seeds(make_frame):
    facts = tables.provenance(make_frame({"bn": [0.4, 0.5], "none": [0.4, 0.5]}))["value"]
    assert facts["groups"] == "the model's own: 5"
    assert facts["stack"] == "tensorflow 2.15.1, tensorflow-addons 0.23.0"
    assert facts["seeds"] == "2, from 0 to 1"
    assert facts["study_sha256"] == "none"
    assert "x_test 6d87418db22c" in facts["data"]


def family(records, *texts):
    return estimate(records, {text: text for text in texts}, "train_loss", margin=0.02)


def test_contrasts_have_both_corrected_p(make_frame):
    """Differences -0.4, -0.4, -0.41: t is -121 with two degrees of freedom."""
    table = tables.contrast_table(
        family(make_frame({"bn": [0.1, 0.2, 0.3], "gn": [0.5, 0.6, 0.71]}), "bn/none - gn/none")
    )
    assert table[["p, differs (Holm)", "p, level (Holm)", "first better in"]].iloc[0].tolist() == [
        "< 0.0001",
        "1.0000",
        "100%",
    ]


def test_an_undecided_contrast_says_how_many_seeds_would_decide(make_frame):
    table = tables.contrast_table(family(make_frame({"bn": [0.1, 0.3], "gn": [0.0, 0.0]}), "bn/none - gn/none"))
    assert table["verdict"].tolist() == ["undecided (about 6 seeds for a new study)"]
    assert table["first better in"].tolist() == ["0%"]


def test_where_settings_vary_rows_name_their_condition(make_frame):
    varies = [{"batch_size": [32, 64]}]
    records = pd.concat([make_frame({"bn": [0.4, 0.5]}, batch_size=size) for size in (32, 64)])
    runs = Comparison(records, varies=varies)
    for table in (tables.result_table(runs), tables.gap_table(runs)):
        assert table.index.tolist() == ["bn/none", "bn/none"]
        assert table["condition"].tolist() == ["batch_size 32", "batch_size 64"]


def test_the_gap_is_a_table_of_those_with_batch_norm(make_frame):
    losses = {"inference": 0.5, "debiased": 0.3, "recalibrated": 0.25}
    evaluation = {reading: {"loss": loss, "accuracy": 0.9} for reading, loss in losses.items()}
    frame = make_frame({"bn": [0.4, 0.4], "gn": [0.4, 0.4]}, evaluation=lambda *_: evaluation)
    table = tables.gap_table(Comparison(frame))
    assert table.index.tolist() == ["bn/none"]
    assert [value.split()[0] for value in table.iloc[0]] == ["2", "0.5000", "0.2000", "0.0500", "0.2500"]
    assert tables.gap_table(Comparison(make_frame({"gn": [0.4]}))).empty


def test_a_styled_table_has_its_caption_and_tints_verdicts_and_is_the_same_each_time(make_frame):
    table = tables.contrast_table(family(make_frame({"bn": [0.1, 0.3], "gn": [0.0, 0.0]}), "bn/none - gn/none"))
    page = tables.style(table, "Declared contrasts").to_html()
    assert "Declared contrasts</caption>" in page
    assert "background-color: #EEEEEE" in page
    assert page == tables.style(table, "Declared contrasts").to_html()


@pytest.mark.parametrize("caption", ["Runs: training, and evaluation", "Rankings, the most frequent first", "Results"])
def test_the_rules_of_a_styled_table_reach_it_whatever_its_caption(caption):
    html = tables.style(pd.DataFrame({"a": ["b"]}).set_index("a"), caption).to_html()
    assert re.search(r"#T_\w+ caption \{", html)
    assert re.search(r'<table id="T_\w+">', html)


def test_figures_stand_beside_the_sources_with_their_meaning(make_record):
    evaluation = {"loss": 0.25, "accuracy": 0.9}
    table = tables.describe_runs([make_record("gn/bn", 0, 0.46, 0.87, evaluation)])
    assert table["source"].tolist() == ["0.4598", "0.8695", "", "", "", ""]
    assert table["here"].tolist()[:5] == ["0.46000", "0.87000", "0.25000", "0.90000", "0.25000"]
    assert table["meaning"].iloc[0] == "mean over epoch 1 on test, while the weights change, dropout on"
    assert table["meaning"].iloc[3] == "on train[:10000], images not trained on, weights fixed, dropout off"


def test_figures_of_several_runs_are_mean_and_standard_deviation(make_record):
    """0.3 and 0.5: mean 0.4, sd 0.2 / sqrt(2)."""
    records = [make_record("none", seed, loss) for seed, loss in enumerate((0.3, 0.5))]
    table = tables.describe_runs(records)
    assert table.loc["running training loss", "here"] == "0.40000 ± 0.14142"
    assert set(table["source"]) == {""}


def test_how_far_the_runs_are_from_the_sources_own_stack_is_in_its_twenty_runs_standard_deviations(make_record):
    original = load_original_stack().query("ordering == 'gn/bn'")["loss"]
    record = make_record("gn/bn", loss=original.mean() + 2 * original.std())
    assert tables.describe_runs([record])["from 20 runs on its stack"].tolist()[0] == "+2.00000 sd"


@pytest.mark.parametrize("settings", [{"ordering": "gn/bn", "epochs": 2}, {"ordering": "bn/bn"}])
def test_nothing_of_the_source_stands_beside_other_settings(make_record, make_frame, settings):
    table = tables.describe_runs([make_record(**settings)])
    assert set(table["source"]) == set(table["from 20 runs on its stack"]) == {""}
    frame = make_frame({"bn": [0.4], "gn": [0.5]}, activation="relu")
    assert not [column for column in tables.result_table(Comparison(frame)) if "source" in column]
