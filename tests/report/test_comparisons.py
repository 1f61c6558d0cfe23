import pandas as pd
import pytest
from bs4 import BeautifulSoup

from normlib.models.instance import Instance
from normlib.report.cards import Comparison

LOSSES = {"bn/none": [0.5, 0.7], "gn/bn": [0.2, 0.4]}


@pytest.fixture
def comparison(make_frame):
    return Comparison(make_frame(LOSSES, epochs=2), [Instance(ordering, epochs=2) for ordering in LOSSES])


def test_it_is_the_table_of_runs(comparison, make_frame):
    pd.testing.assert_frame_equal(pd.DataFrame(comparison), make_frame(LOSSES, epochs=2))


def test_what_is_selected_of_it_is_a_plain_table(comparison):
    for selected in (comparison[comparison["seed"] == 0], comparison.copy(), comparison[["ordering", "train_loss"]]):
        assert type(selected) is pd.DataFrame


def test_it_is_shown_by_ordering_the_lowest_mean_first_with_pictures_settings_and_all_runs(comparison):
    soup = BeautifulSoup(comparison._repr_html_(), "html.parser")
    means, pictures, differing, _, runs = soup.find_all("table")
    rows = [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in means.find_all("tr")]
    assert [row[0] for row in rows] == ["ordering", "gn/bn", "bn/none"]
    assert rows[1][2].startswith("0.3000 [")
    assert rows[2][2].startswith("0.6000 [")
    drawn = [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in pictures.find_all("tr")[1:]]
    assert [name for name, _ in drawn] == ["bn/none", "gn/bn"]
    assert ["GroupNorm 5 groups of 2 channels" in text for _, text in drawn] == [False, True]
    assert [cell.text for cell in differing.find_all("td")] == ["2", "1"]
    assert len(runs.find_all("tr")) == 1 + 4
    assert "2 epochs" in soup.get_text()


def test_one_run_each_has_no_interval(make_frame):
    shown = Comparison(make_frame({"bn/none": [0.5]}), [Instance()])._repr_html_()
    assert "0.5000<" in shown
