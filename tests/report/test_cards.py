import re

import pytest
from bs4 import BeautifulSoup

from normlib.models.instance import Instance
from normlib.report import html as html_module
from normlib.report.diagrams import boxes
from normlib.studies.study import Study, read_study


def cells(html, caption):
    """Return the rows of the table with a caption, as text."""
    (table,) = (t for t in BeautifulSoup(html, "html.parser").find_all("table") if t.caption.text.startswith(caption))
    return [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]


def test_what_others_wrote_never_becomes_markup():
    evil = "<script>alert(1)</script>"
    table = html_module.table(evil, [evil], [[evil, evil]])
    for html in (
        html_module.card(evil, evil, table),
        html_module.folded(evil, table),
        html_module.settings({evil: evil}, {evil: 0}),
    ):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


def test_empty_parts_are_left_out():
    assert html_module.card("title", "", html_module.Markup("")) == "<div><p><b>title</b></p></div>"


def test_a_table_has_headers_for_its_columns_and_rows():
    soup = BeautifulSoup(html_module.table("caption", ["a", "b"], [["x", 1], ["y", 2]]), "html.parser")
    assert [cell.text for cell in soup.find_all("th", scope="col")] == ["a", "b"]
    assert [cell.text for cell in soup.find_all("th", scope="row")] == ["x", "y"]
    assert [cell.text for cell in soup.find_all("td")] == ["1", "2"]


def test_settings_that_differ_come_first_and_the_others_behind_a_click():
    html = html_module.settings({"epochs": 2, "batch_size": 32}, {"epochs": 1, "batch_size": 32})
    assert cells(html, "Settings that differ") == [["setting", "value", "default"], ["epochs", "2", "1"]]
    before, behind = html.split("<details>")
    assert "batch_size" not in before
    assert "batch_size" in behind


def test_without_a_difference_it_says_so():
    assert html_module.settings({"epochs": 1}, {"epochs": 1}).startswith("<p>All settings are at their defaults.</p>")


def test_a_picture_shows_what_stands_where_in_data_flow_order_and_an_empty_slot_dashed():
    html = html_module.picture(boxes(Instance("gn/none")))
    text = re.sub(r"\s+", " ", BeautifulSoup(html, "html.parser").get_text(" "))
    assert " → GroupNorm 5 groups of 2 channels → convolution 2 " in text
    (dashed,) = (box for box in html.split("<span") if "dashed" in box)
    assert "slot 2<br>empty" in dashed


def test_an_instance_is_shown_with_its_picture_and_what_differs():
    html = Instance("gn/bn", learning_rate=0.003)._repr_html_()
    assert html.startswith("<div><p><b>Instance gn/bn of source_cnn</b></p><div><span")
    assert cells(html, "Settings that differ") == [
        ["setting", "value", "default"],
        ["ordering", "gn/bn", "bn/none"],
        ["learning_rate", "0.003", "0.001"],
    ]


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


@pytest.mark.parametrize("name", ["source", "conditions", "batch-size", "placement-resnet20"])
def test_a_study_is_shown_with_its_question_orderings_conditions_and_contrasts(name):
    study = read_study(name)
    html = study._repr_html_()
    assert BeautifulSoup(html, "html.parser").find_all("p")[1].text == study.question
    runs = len(study.instances) * study.seeds
    assert f"{runs} runs: {len(study.orderings)} orderings" in html
    assert [row[0] for row in cells(html, "Orderings")] == ["ordering", *study.orderings]
    contrasts = [[name, text] for name, text in study.contrasts.items()]
    assert cells(html, "Declared contrasts") == [["name", "contrast"], *contrasts]
    if study.varies:
        varied = [setting for group in study.varies for setting in group]
        assert [row[0] for row in cells(html, "What varies")] == ["setting", *varied]


def test_a_study_with_one_seed_names_it():
    html = Study("mine", "Which?", ("bn", "none"), seeds=1, first_seed=4)._repr_html_()
    assert "2 runs: 2 orderings, each with seed 4." in html
