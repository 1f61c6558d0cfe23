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


def contrasts(records):
    return tables.contrast_table(estimate(records, {"kind": "bn/none - gn/none"}, "train_loss", margin=0.02))


def test_contrasts_have_both_corrected_p_and_say_how_many_seeds_would_decide(make_frame):
    """Differences -0.4, -0.4, -0.41: t is -121 with two degrees of freedom."""
    table = contrasts(make_frame({"bn": [0.1, 0.2, 0.3], "gn": [0.5, 0.6, 0.71]}))
    columns = ["pairs", "p, differs (Holm)", "p, level (Holm)", "first better in"]
    assert table.loc["kind", columns].tolist() == ["3", "< 0.0001", "1.0000", "100%"]
    table = contrasts(make_frame({"bn": [0.1, 0.3], "gn": [0.0, 0.0]}))
    assert table["verdict"].tolist() == ["undecided (about 6 seeds for a new study)"]
    assert table["first better in"].tolist() == ["0%"]
    table = contrasts(make_frame({"bn": [0.1], "gn": [0.0, 0.0]}))
    assert table[["difference", "first better in", "verdict"]].to_numpy().tolist() == [["", "", "undecided"]]


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
    table, caption = contrasts(make_frame({"bn": [0.1, 0.3], "gn": [0.0, 0.0]})), "Declared: contrasts"
    page = tables.style(table, caption).to_html()
    assert "Declared: contrasts</caption>" in page
    assert "background-color: #EEEEEE" in page
    assert re.search(r"#T_\w+ caption \{", page)  # rules reach the table, whatever its caption
    assert re.search(r'<table id="T_\w+">', page)
    assert page == tables.style(table, caption).to_html()


def test_figures_stand_beside_the_sources_with_their_meaning(make_record):
    evaluation = {"loss": 0.25, "accuracy": 0.9}
    table = tables.describe_runs([make_record("gn/bn", 0, 0.46, 0.87, evaluation)])
    assert table["source"].tolist() == ["0.4598", "0.8695", "", "", "", ""]
    assert table["here"].tolist()[:5] == ["0.46000", "0.87000", "0.25000", "0.90000", "0.25000"]
    assert table["meaning"].iloc[0] == "mean over epoch 1 on test, while the weights change, dropout on"
    assert table["meaning"].iloc[3] == "on train[:10000], images not trained on, weights fixed, dropout off"


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
