import io

import pandas as pd
import pytest

from normlib.report import export
from normlib.studies.results import Results
from normlib.studies.study import Study


@pytest.fixture
def results(make_record):
    contrasts = {"against none": "bn/none - none/none"}
    study = Study("made", "Which?", ("bn/none", "none/none"), seeds=3, margin=0.02, contrasts=contrasts)
    losses = {"bn": [0.41, 0.43, 0.45], "none": [0.40, 0.40, 0.40]}
    return Results(study, [make_record(name, s, loss) for name, each in losses.items() for s, loss in enumerate(each)])


def test_csv_gives_the_numbers_of_each_ordering_and_measure(results):
    """0.41, 0.43, 0.45: mean 0.43, sd 0.02; t with two degrees of freedom is 4.302653."""
    table = pd.read_csv(io.StringIO(export.to_csv(results)))
    row = table[(table["ordering"] == "bn/none") & (table["measure"] == "train_loss")].iloc[0]
    reach = 4.302653 * 0.02 / 3**0.5
    assert row[["runs", "mean", "sd", "low", "high"]].tolist() == pytest.approx(
        [3, 0.43, 0.02, 0.43 - reach, 0.43 + reach]
    )
    assert len(table) == 2 * 8 + 1
    contrast = table[table["ordering"] == "bn/none - none/none"].iloc[0]
    assert contrast[["measure", "runs", "margin", "verdict"]].tolist() == ["train_loss", 3, 0.02, "undecided"]
    assert contrast["mean"] == pytest.approx(0.03)


def test_latex_is_the_tables_of_contrasts_and_results(results):
    text = export.to_latex(results)
    assert text.count("\\begin{tabular}") == text.count("\\toprule") == 2
    assert "bn/none - none/none" in text
