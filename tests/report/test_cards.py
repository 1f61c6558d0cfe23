import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from normlib.models.instance import Instance
from normlib.report import cards, plots
from normlib.report.cards import ComparedRuns
from normlib.studies.study import Study, read_study


def cells(html, caption):
    """Return the rows of the table with a caption, as text."""
    (table,) = (t for t in BeautifulSoup(html, "html.parser").find_all("table") if t.caption.text.startswith(caption))
    return table_rows(table)


def table_rows(table):
    return [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]


def test_what_others_wrote_never_becomes_markup():
    evil = "<script>alert(1)</script>"
    parts = [("text", evil), ("list", [evil]), ("table", evil, [evil], [[evil, evil]]), ("picture", evil, evil)]
    for html in (cards.card(evil, *parts, ("details", evil, parts[0])), cards.card(evil, *parts, whole_page=True)):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


def test_a_table_has_headers_for_its_columns_and_rows_and_empty_parts_are_left_out():
    parts = [("text", ""), ("table", "empty", ["c", "d"], []), ("table", "caption", ["a", "b"], [["x", 1], ["y", 2]])]
    soup = BeautifulSoup(cards.card("title", *parts), "html.parser")
    assert [cell.text for cell in soup.find_all("th", scope="col")] == ["a", "b"]
    assert [cell.text for cell in soup.find_all("th", scope="row")] == ["x", "y"]
    assert [cell.text for cell in soup.find_all("td")] == ["1", "2"]
    assert len(soup.find_all("p")) == 1


def test_an_instance_is_shown_with_its_picture_and_what_differs():
    html = Instance("gn/none", learning_rate=0.003)._repr_html_()
    assert html.startswith("<div><p><b>Instance gn/none of source_cnn</b></p><div><span")
    text = re.sub(r"\s+", " ", BeautifulSoup(html, "html.parser").get_text(" "))
    assert " → GroupNorm 5 groups of 2 channels → convolution 2 " in text
    (dashed,) = (box for box in html.split("<span") if "dashed" in box)
    assert "slot 2<br>empty" in dashed
    assert cells(html, "Settings that differ") == [
        ["setting", "value", "default"],
        ["ordering", "gn/none", "bn/none"],
        ["learning_rate", "0.003", "0.001"],
    ]
    before, behind = html.split("<details>")  # the others are behind a click
    assert ("batch_size" in before, "batch_size" in behind) == (False, True)
    assert "All settings are at their defaults." in Instance()._repr_html_()


def test_a_record_is_shown_with_its_figures_first(make_record):
    readings = {"inference": 0.5, "debiased": 0.25, "recalibrated": 0.125}
    evaluation = {reading: {"loss": loss, "accuracy": 0.75} for reading, loss in readings.items()}
    record = make_record("gn/bn", 3, 0.4, 0.88, evaluation, epochs=2)
    html = record._repr_html_()
    assert f"Run {record.key}: gn/bn, seed 3" in html
    assert cells(html, "Training, and evaluation") == [
        ["", "loss", "accuracy"],
        ["running, last epoch", "0.4000", "0.8800"],
        ["inference", "0.5000", "0.7500"],
        ["debiased", "0.2500", "0.7500"],
        ["recalibrated", "0.1250", "0.7500"],
    ]
    assert ["epochs", "2", "1"] in cells(html, "Settings that differ")
    assert html.index("Training, and") < html.index("GroupNorm") < html.index("Settings that differ")
    for fact in ("2.15.1", "739,748", "a processor"):
        assert fact in html.partition("Where it was made")[2]


def test_a_record_whose_data_are_elsewhere_is_shown_without_a_picture(make_record):
    record = make_record()
    record.instance["dataset"] = "elsewhere.npz"
    html = record._repr_html_()
    assert "→" not in html
    assert "elsewhere.npz" in html


def test_a_study_is_shown_with_its_question_orderings_conditions_contrasts_and_seeds():
    study = read_study("conditions")
    html = study._repr_html_()
    assert BeautifulSoup(html, "html.parser").find_all("p")[1].text == study.question
    runs = len(study.instances) * study.seeds
    assert f"{runs} runs: {len(study.orderings)} orderings" in html
    assert [row[0] for row in cells(html, "Orderings")] == ["ordering", *study.orderings]
    assert cells(html, "Declared contrasts") == [["name", "contrast"], *map(list, study.contrasts.items())]
    varied = [setting for group in study.varies for setting in group]
    assert [row[0] for row in cells(html, "What varies")] == ["setting", *varied]
    html = Study("mine", "Which?", ("bn", "none"), seeds=1, first_seed=4)._repr_html_()
    assert "2 runs: 2 orderings, each with seed 4." in html


LOSSES = {"bn/none": [0.5, 0.7], "gn/bn": [0.2, 0.4]}


@pytest.mark.parametrize(
    ("orderings", "settings", "expected", "measure"),
    [
        (["bn/none", "none/none", "gn/bn"], {}, ["bn/none or none/none", "gn/bn or none/none"], "train_loss"),
        (["bn/none", "gn/bn"], {"epochs": 2}, ["gn/bn or bn/none"], "eval_accuracy"),
    ],
    ids=["the source's protocol, with the baseline", "another protocol"],
)
def test_verdicts_are_on_each_ordering_against_the_baseline_or_the_first(
    make_frame, orderings, settings, expected, measure
):
    frame = make_frame({ordering: [0.5, 0.7, 0.6] for ordering in orderings}, **settings)
    runs = ComparedRuns(frame, [Instance(ordering, **settings) for ordering in orderings]).verdicts()
    assert (runs.measure.column, list(runs.estimates.index)) == (measure, expected)
    assert str(runs).splitlines()[0].startswith(f"{expected[0]}: undecided; ")
    assert f"<li>{str(runs).splitlines()[0]}</li>" in runs._repr_html_()


def test_verdicts_are_on_contrasts_as_they_are_given_and_bars_of_what_is_judged(comparison):
    for measure, title in ((None, "evaluation loss"), ("train_loss", "running training loss")):
        comparison.measure = measure or comparison.measure
        _, axes = plots.plot_bars(comparison)
        assert axes[1].get_title(loc="left") == title
    runs = comparison.verdicts({"order": "gn/bn - bn/none"}, measure="train_loss", margin=0.5)
    assert (list(runs.estimates.index), runs.measure.column, runs.margin) == (["order"], "train_loss", 0.5)


@pytest.fixture
def comparison(make_frame):
    return ComparedRuns(make_frame(LOSSES, epochs=2), [Instance(ordering, epochs=2) for ordering in LOSSES])


def test_it_is_the_table_of_runs_and_what_is_selected_of_it_is_a_plain_one(comparison, make_frame):
    pd.testing.assert_frame_equal(pd.DataFrame(comparison), make_frame(LOSSES, epochs=2))
    for selected in (comparison[comparison["seed"] == 0], comparison.copy(), comparison[["ordering", "train_loss"]]):
        assert type(selected) is pd.DataFrame


def test_it_is_shown_by_ordering_the_best_mean_first_with_pictures_settings_and_all_runs(comparison):
    soup = BeautifulSoup(comparison._repr_html_(), "html.parser")
    assert soup.find("li").text.startswith("gn/bn or bn/none: ")  # the verdicts first
    assert soup.find("img")["alt"].startswith("Bars: the mean of each ordering")
    means, pictures, differing, _, runs = soup.find_all("table")
    rows, drawn = table_rows(means), table_rows(pictures)[1:]
    assert [row[0] for row in rows] == ["ordering", "gn/bn", "bn/none"]
    assert [row[2].split(" [")[0] for row in rows[1:]] == ["0.3000", "0.6000"]
    assert [name for name, _ in drawn] == ["bn/none", "gn/bn"]
    assert ["GroupNorm 5 groups of 2 channels" in text for _, text in drawn] == [False, True]
    assert [cell.text for cell in differing.find_all("td")] == ["2", "1"]
    assert len(runs.find_all("tr")) == 1 + 4
    assert "2 epochs" in soup.get_text()
