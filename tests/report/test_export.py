import dataclasses
import io
import re
from pathlib import Path

import pandas as pd
import pytest

from normlib.report import export
from normlib.studies.results import Results
from normlib.studies.study import Study


def csv(results, name):
    return pd.read_csv(io.StringIO(export.csv_files(results, Path("a.csv"))[Path(name)]))


@pytest.fixture
def results(make_record):
    contrasts = {"against none": "bn/none - none/none"}
    study = Study("made", "Which?", ("bn/none", "none/none"), seeds=3, margin=0.02, contrasts=contrasts)
    losses = {"bn": [0.41, 0.43, 0.45], "none": [0.40, 0.40, 0.40]}
    return Results(study, [make_record(name, s, loss) for name, each in losses.items() for s, loss in enumerate(each)])


def test_csv_gives_the_numbers_of_each_ordering_and_measure(results):
    """0.41, 0.43, 0.45: mean 0.43, sd 0.02; t with two degrees of freedom is 4.302653."""
    table = csv(results, "a.csv")
    row = table[(table["ordering"] == "bn/none") & (table["measure"] == "train_loss")].iloc[0]
    reach = 4.302653 * 0.02 / 3**0.5
    assert row[["runs", "mean", "sd", "low", "high"]].tolist() == pytest.approx(
        [3, 0.43, 0.02, 0.43 - reach, 0.43 + reach]
    )
    assert len(table) == 2 * 8


def test_contrasts_are_a_table_of_their_own_and_without_any_there_is_one_file(results):
    (contrast,) = csv(results, "a_contrasts.csv").to_dict("records")
    assert contrast["mean"] == pytest.approx(0.03)
    expected = {"name": "against none", "contrast": "bn/none - none/none", "measure": "train_loss", "margin": 0.02}
    assert contrast | expected | {"pairs": 3, "verdict": "undecided"} == contrast
    undeclared = Results(dataclasses.replace(results.study, contrasts={}), results.runs)
    assert [*export.csv_files(undeclared, Path("a.csv"))] == [Path("a.csv")]


def test_latex_has_tables_of_contrasts_and_of_means_that_fit_a_page(results):
    """A page's text holds about 85 characters; columns of text have shares of its width, and space between them."""
    text = export.to_latex(results)
    assert text.count("\\toprule") == 3
    assert "bn/none - none/none" in text
    for columns in re.findall(r"\\begin{tabular}{(.+)}", text):
        assert sum(map(float, re.findall(r"p{(.+?)\\linewidth}", columns))) <= 0.8
    assert max(map(len, text.partition("Means")[2].splitlines())) < 85
