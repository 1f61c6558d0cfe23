import io

import pandas as pd
import pytest
from test_agreement import KERAS, SIZES

from normlib.errors import RequestError
from normlib.report.agreement import Report, Side, report
from normlib.studies.study import Study

NAME = "<b>against</b> none"
STUDY = Study("mine", "Which <i>one</i>?", ("bn", "none"), seeds=3, contrasts={NAME: "bn - none"})
LOSSES = {"bn": [0.45, 0.46, 0.47], "none": [0.40, 0.40, 0.40]}


@pytest.fixture
def compare(make_record):
    """Return a function that compares a made-up study with itself on the other stack: B's losses larger by a shift."""

    def compare(study=STUDY, shift=0.0, sizes=(32,)):
        sides = []
        for environment, added in (({}, 0.0), (KERAS, shift)):
            runs = [
                make_record(ordering, seed, loss + added, environment=environment, batch_size=size)
                for size in sizes
                for ordering, values in LOSSES.items()
                for seed, loss in enumerate(values)
            ]
            sides.append(Side(study, runs))
        return Report(*sides)

    return compare


def test_the_text_has_a_table_for_each_measure_and_one_of_contrasts_then_sentences(compare):
    parts = compare(shift=0.2).to_text().split("\n\n")
    assert parts[0].splitlines()[1].startswith("B, mine: 6 runs, seeds: 3, from 0 to 2; tensorflow 2.21.0, keras 3.15")
    assert [part.splitlines()[0] for part in parts[1:-1]] == [
        "running training loss",
        "running training accuracy",
        "evaluation loss",
        "evaluation accuracy",
        "declared contrasts in running training loss",
    ]
    reach = 4.302653 * 0.01 / 3**0.5  # t of two degrees of freedom
    (row,) = (line for line in parts[1].splitlines() if line.strip().startswith("bn/none"))
    assert row.split()[:2] == ["bn/none", "3,"]
    assert f"0.4600 [{0.46 - reach:.4f}, {0.46 + reach:.4f}]" in row
    assert row.endswith("differs")
    assert parts[-1].startswith("4 of 8 figures agree")
    assert max(map(len, "".join(parts[:-1]).splitlines())) < 150


def test_a_study_that_varies_settings_has_tables_for_each_condition(compare):
    varied = Study("mine", "Which?", ("bn", "none"), varies=SIZES, seeds=3, contrasts={NAME: "bn - none"})
    comparison = compare(varied, sizes=(32, 64))
    titles = [part.splitlines()[0] for part in comparison.to_text().split("\n\n")]
    assert titles[1] == "running training loss, under batch_size 32"
    assert titles[5] == "running training loss, under batch_size 64"
    assert titles[9:11] == [f"declared contrasts in running training loss, under batch_size {n}" for n in (32, 64)]
    assert comparison.to_html().count(">condition</th>") == 2


def test_the_studys_own_measure_is_compared_too(compare):
    measure = Study("mine", "Which?", ("bn", "none"), measure="recalibrated_loss")
    assert "evaluation loss, recalibrated\n" in compare(measure).to_text()


def test_csv_has_the_numbers_of_figures_and_contrasts(compare):
    table = pd.read_csv(io.StringIO(compare(shift=0.2).to_csv()))
    figure = table[(table["ordering"] == "bn/none") & (table["measure"] == "train_loss")].iloc[0]
    assert figure[["mean_a", "mean_b", "difference"]].tolist() == pytest.approx([0.46, 0.66, 0.2])
    assert len(table) == 2 * 4 + 1
    contrast = table[table["ordering"] == "bn/none - none/none"].iloc[0]
    assert contrast[["measure", "runs_a", "runs_b", "verdict_a"]].tolist() == ["train_loss", 3, 3, "undecided"]
    assert contrast["mean_a"] == pytest.approx(0.06)


def test_the_page_has_sentences_tables_and_the_figure_in_it(compare):
    page = compare(shift=0.2).to_html()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<table") == 3
    assert page.count('src="data:image/png;base64,iVBOR') == 1
    assert 'alt="One study run in two places: the means' in page
    for part in ("4 of 8 figures agree", "keras 3.15.1", "differs", "<h2>", "<caption>Figures, means"):
        assert part in page


def test_what_others_wrote_is_no_markup_in_the_page(compare):
    page = compare().to_html()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;against&lt;/b&gt; none" in page
    assert "Which &lt;i&gt;one&lt;/i&gt;?" in page


def test_without_contrasts_there_are_text_table_and_page_all_the_same(compare):
    comparison = compare(Study("mine", "Which?", ("bn", "none"), seeds=3))
    assert "declared contrasts" not in comparison.to_text()
    assert "No contrast was declared." in comparison.to_html()
    assert len(pd.read_csv(io.StringIO(comparison.to_csv()))) == 8


def test_latex_is_refused_before_the_folders_are_read(tmp_path):
    with pytest.raises(RequestError, match=r"latex is 'a.tex', but must be csv and html alone, where two folders are"):
        report(tmp_path / "nowhere", tmp_path / "nowhere", {"latex": "a.tex"})
