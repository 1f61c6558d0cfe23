"""What a paper reports stands in the study's file, and is refused where it could not be shown."""

import pytest

from normlib.errors import RequestError
from normlib.studies.study import Paper, read_study

VARIES = [{"batch_size": [32, 2], "learning_rate": [0.1, 0.01]}]
CONTENT = {
    "reports": "A paper, table 1",
    "against": "batch_size",
    "lines": {"bn/bn": {32: 23.6, 2: 34.7}},
    "differs": "In all.",
}


def test_a_paper_is_read_as_it_stands_in_the_file():
    paper = Paper.of(CONTENT, VARIES)
    assert (paper.reports, paper.against, paper.differs) == ("A paper, table 1", "batch_size", "In all.")
    assert paper.lines["bn/bn"][2] == 34.7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"against": "learning_rate"},
            "paper: against is 'learning_rate', but must be the first setting of the one group",
        ),
        ({"lines": {}}, "paper: lines is {}, but must be at least one"),
        ({"lines": {"bn/bn": {0: 1.0}}}, "paper: lines is 0, but must be positive values of the setting"),
        ({"lines": {"bn/bn": {}}}, "paper: lines is {}, but must be numbers by the values of the setting"),
        ({"lines": {"bn/bn": {32: "many"}}}, "paper: lines is 'many', but must be finite numbers"),
        ({"lines": {"bn/bn": {32: float("nan")}}}, "paper: lines is nan, but must be finite numbers"),
        ({"differs": "a\x1b[2Jb"}, "paper: differs is "),
        ({"more": 1}, "paper is "),
    ],
)
def test_what_could_not_be_shown_is_refused(change, said):
    with pytest.raises(RequestError) as refusal:
        Paper.of(CONTENT | change, VARIES)
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize(
    "varies", [[], [{"optimizer": ["adam", "sgd"]}], [{"weight_decay": [0, 0.1]}], [*VARIES, {"epochs": [1, 2]}]]
)
def test_what_could_not_be_drawn_along_one_axis_is_refused(varies):
    against = next(iter(varies[0])) if varies else "batch_size"
    with pytest.raises(RequestError, match="paper: against is "):
        Paper.of(CONTENT | {"against": against}, varies)


def test_the_numbers_of_wu_and_he_are_those_of_their_tables():
    """Group Normalization, arXiv 1803.08494: table 2, and table 3's numbers of groups; the errors of BatchNorm grow."""
    batch = read_study("batch-size").reported.lines
    assert batch["bn/bn"] == {32: 23.6, 16: 23.7, 8: 24.8, 4: 27.3, 2: 34.7}
    # Table 2's last row: their differences, GroupNorm's errors minus BatchNorm's.
    gaps = [round(batch["gn/gn"][size] - batch["bn/bn"][size], 1) for size in (32, 16, 8, 4, 2)]
    assert gaps == [0.5, 0.5, -0.8, -3.1, -10.6]
    (groups,) = read_study("groups").reported.lines.values()
    # Table 3's last row: the distance from the best, 32 groups.
    assert [round(groups[number] - groups[32], 1) for number in (64, 32, 16, 8, 4, 2, 1)] == [
        0.5, 0.0, 0.5, 0.3, 0.5, 0.6, 1.2,
    ]  # fmt: skip
