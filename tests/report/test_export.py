import io

import pandas as pd
import pytest

from normlib.errors import RequestError
from normlib.report import export
from normlib.studies.study import Study

SETTINGS_AND_TESTS = [
    "model: source\\_cnn", "activation: none", "dataset: mnist", "fit split: test", "evaluate split", "epochs: 1",
    "batch size: 32", "learning rate: 0.001", "groups: the model's own: 5", "momentum: 0.99", "Adam",
    "tensorflow 2.15.1", "threads: 1", "sign-flip permutation test", "paired t test", "Holm", "margin of 0.02",
]  # fmt: skip


@pytest.fixture
def study():
    contrasts = {"against none": "bn/none - none/none"}
    return Study("made", "Which?", ("bn/none", "none/none"), seeds=3, margin=0.02, contrasts=contrasts)


@pytest.fixture
def records(make_frame):
    return make_frame({"bn": [0.41, 0.43, 0.45], "none": [0.40, 0.40, 0.40]})


def test_csv_gives_the_numbers_of_each_ordering_and_measure(records, study):
    """0.41, 0.43, 0.45: mean 0.43, sd 0.02; t with two degrees of freedom is 4.302653."""
    table = pd.read_csv(io.StringIO(export.to_csv(records, study)))
    row = table[(table["ordering"] == "bn/none") & (table["measure"] == "train_loss")].iloc[0]
    reach = 4.302653 * 0.02 / 3**0.5
    assert row[["runs", "mean", "sd", "low", "high"]].tolist() == pytest.approx(
        [3, 0.43, 0.02, 0.43 - reach, 0.43 + reach]
    )
    assert len(table) == 2 * 8 + 1
    contrast = table[table["ordering"] == "bn/none - none/none"].iloc[0]
    assert contrast[["measure", "runs", "margin", "verdict"]].tolist() == ["train_loss", 3, 0.02, "undecided"]
    assert contrast["mean"] == pytest.approx(0.03)


def test_html_is_a_page_with_question_findings_and_tables(records, study):
    page = export.to_html(records, study)
    for part in (
        "<em>Which?</em>",
        "<em>against none</em>, bn/none against none/none",
        "4300 [0.3803",
        "tensorflow 2.15.1",
    ):
        assert part in page
    assert page.count("<table") == 3
    assert page == export.to_html(records, study)


def test_latex_is_tables_and_a_methods_paragraph_that_names_every_setting_and_test(records, study):
    text = export.to_latex(records, study)
    assert text.count("\\begin{tabular}") == text.count("\\toprule") == 2
    assert "bn/none - none/none" in text
    paragraph = text[text.index("\\paragraph{Methods.}") :]
    for name in SETTINGS_AND_TESTS:
        assert name in paragraph
    assert "%" not in paragraph.replace("\\%", "")


def test_methods_name_the_conditions(make_frame, study):
    varied = Study("made", "Which?", ("bn/none",), varies=[{"batch_size": [32, 64]}], seeds=2)
    frame = pd.concat([make_frame({"bn": [0.4, 0.5]}, batch_size=size) for size in (32, 64)])
    said = export.methods(frame, varied)
    assert "under each of these conditions: batch size 32; batch size 64." in said
    assert "No contrasts were declared." in said
    assert "batch size: " not in said  # as a setting that all share


def test_a_file_is_written_whole_and_a_folder_refused(records, study, tmp_path):
    path = export.write_export("csv", tmp_path / "deep" / "made.csv", records, study)
    assert path.read_text() == export.to_csv(records, study)
    with pytest.raises(RequestError, match=r"csv is .*; allowed: a file, and this is a folder"):
        export.check_file("csv", tmp_path)
