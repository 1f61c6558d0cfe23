import numpy as np
import pytest
from test_agreement import HIGHER, KERAS, LOWER, NONE

from normlib.analysis.agreement import agreement, contrast_agreement
from normlib.report import agreement as report
from normlib.report.agreement import Side
from normlib.studies.study import Study

STUDY = Study("a", "Which?", ("bn", "none"), seeds=3, contrasts={"against none": "bn - none"})


@pytest.fixture
def make_side(make_record):
    """Return a function that makes up a side from ``{ordering: losses by seed}``."""

    def make(losses, study=STUDY, **changes):
        runs = [
            make_record(ordering, seed, loss, **changes)
            for ordering, values in losses.items()
            for seed, loss in enumerate(values)
        ]
        return Side(study, runs)

    return make


def said(a, b):
    figures = agreement(a.records, b.records, measures=["train_loss", "eval_loss"])
    return report.agreement_sentences(figures, "train_loss", 0.01)


def test_it_is_said_where_each_side_was_run(make_side):
    sides = make_side({"bn": [0.4, 0.5]}), make_side({"bn": [0.4]}, environment=KERAS)
    assert report.place_sentences(*sides) == [
        "A, a: 2 runs, seeds: 2, from 0 to 1; tensorflow 2.15.1, tensorflow-addons 0.23.0; processor: a processor; "
        "device: CPU; threads a run: 1.",
        "B, a: 1 runs, seeds: 1, from 0 to 0; tensorflow 2.21.0, keras 3.15.1; processor: a processor; device: CPU; "
        "threads a run: 1.",
    ]


def test_where_all_agree_it_is_said_how_large_a_difference_may_be(make_side):
    """0.45 and 0.47, twice: the error of the difference is 0.01 sqrt(2), and t of two degrees of freedom 4.302653."""
    side = make_side({"bn": [0.45, 0.47]})
    assert said(side, side) == [
        "2 of 2 figures agree: the 95 % interval of B minus A holds zero.",
        "To agree is not to be equal: in running training loss, the intervals of the figures that agree reach to "
        f"differences of {4.302653 * 0.01 * 2**0.5:.4f} (the study's margin: 0.01).",
    ]


def test_those_that_differ_are_named_with_both_means_and_what_is_left_after_holms_correction(make_side):
    """P of 1, 2, 3 against 4.4, 5.4, 6.4 is 0.0141, in a family of four 0.056: it does not stand; one far off does."""
    a = make_side({"bn": [1.0, 2.0, 3.0], "none": [1.0, 2.0, 3.0]})
    b = make_side({"bn": [4.4, 5.4, 6.4], "none": [1.0, 2.0, 3.0]})
    b.records["eval_loss"] = a.records["eval_loss"]
    told = said(a, b)
    assert told[:2] == [
        "3 of 4 figures agree: the 95 % interval of B minus A holds zero.",
        "Of the figures, these differ: running training loss of bn/none (A 2.0000, B 5.4000).",
    ]
    assert told[2].endswith("with Holm's correction over all 4, none still would.")
    b.records.loc[b.records["ordering"] == "bn/none", "train_loss"] += 100
    assert said(a, b)[2].endswith("with Holm's correction over all 4, running training loss of bn/none still would.")


def test_of_diverged_runs_nothing_is_said(make_side):
    told = said(make_side({"bn": [0.4, np.nan]}), make_side({"bn": [0.4, 0.5]}))
    assert told[0] == "0 of 2 figures agree: the 95 % interval of B minus A holds zero."
    assert told[1] == (
        "Nothing can be said, where a run diverged or a side has but one: running training loss of bn/none; "
        "evaluation loss of bn/none."
    )


FEW = {"bn": LOWER[:3], "none": HIGHER[:3]}
TURNED = {"bn": HIGHER, "none": LOWER}


@pytest.mark.parametrize(
    ("losses", "sentences"),
    [
        (
            {"bn": LOWER, "none": HIGHER},
            ["1 of 1 contrasts have the same verdict in A and in B: against none (differs)."],
        ),
        (
            FEW,
            [
                "0 of 1 contrasts have the same verdict in A and in B.",
                "Undecided in one of them: against none (A -0.0967 with 6 pairs: differs, B -0.1000 with 3 pairs: "
                "undecided).",
            ],
        ),
        (
            TURNED,
            [
                "0 of 1 contrasts have the same verdict in A and in B.",
                "A and B contradict each other: against none (A -0.0967 with 6 pairs: differs, B +0.0967 with 6 pairs: "
                "differs).",
                "Another size in B than in A, beyond the 95 % interval, have: against none (B minus A: +0.1933 "
                "[+0.1800, +0.2066]).",
            ],
        ),
        ({"bn": LOWER}, ["Contrasts not compared, since a side has no pairs of runs: against none."]),
    ],
    ids=["same", "few pairs", "opposite directions", "no pairs"],
)
def test_contrasts_are_told_by_whether_their_verdicts_are_the_same(make_frame, losses, sentences):
    """A's pairs: mean -0.09667, sd 0.01033; turned round, t of ten degrees, 2.228139, times sd / sqrt(3) is 0.0133."""
    a, b = make_frame({"bn": LOWER, "none": HIGHER}), make_frame(losses)
    found = contrast_agreement(a, b, [NONE], "train_loss", 0.01)
    assert report.contrast_sentences(found) == sentences


def test_without_contrasts_that_is_said(make_frame):
    frame = make_frame({"bn": [0.4, 0.5]})
    found = contrast_agreement(frame, frame, [], "train_loss", 0.01)
    assert report.contrast_sentences(found) == ["No contrast was declared."]


def test_no_ordering_is_dropped_in_silence_and_missing_and_diverged_runs_are_named(make_side):
    a = make_side({"bn": [0.4, 0.5, 0.6], "none": [0.4, 0.5, 0.6]})
    b = make_side({"bn": [0.4, np.nan], "gn": [0.4], "none": [0.4, 0.5, 0.6]}, environment=KERAS)
    assert report.side_sentences(a, b) == [
        "Not compared, since only B has runs: gn/none.",
        "In B: Missing, 1 of 6 runs: bn/none, seed 2. Contrasts leave out their pairs.",
        "In B: Diverged, 1 run: bn/none, seed 1. Diverged runs are not left out, so nothing is said of contrasts that "
        "they stand in.",
    ]


def test_of_two_sides_in_one_place_it_is_said_how_many_runs_are_equal_to_the_bit(make_side):
    a = make_side({"bn": [0.4, 0.5, 0.6], "none": [0.4, 0.5, 0.6]})
    b = make_side({"bn": [0.4, 0.5, 0.7], "none": [0.4, 0.5, 0.6]})
    assert report.side_sentences(a, b) == [
        "A and B were run in the same place, where the same seed gives the same bits: 5 of 6 runs that both have are "
        "equal to the bit."
    ]
