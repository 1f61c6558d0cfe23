import math

import pandas as pd
import pytest

from normlib.analysis import verdicts
from normlib.analysis.verdicts import Contrast
from normlib.errors import RequestError

ORDERINGS = ["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"]
ORDER = Contrast("order", ("bn/gn",), ("gn/bn",))


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("bn/gn - gn/bn", ("bn/gn",), ("gn/bn",)),
        ("mean(bn/gn, gn/bn) - none/none", ("bn/gn", "gn/bn"), ("none/none",)),
        ("mean(bn, gn) - none", ("bn/none", "gn/none"), ("none/none",)),
    ],
)
def test_a_contrast_is_read_in_full_or_short_form_and_written_in_full(text, first, second):
    contrast = Contrast.parse("name", text, ORDERINGS)
    assert (contrast.first, contrast.second) == (first, second)
    assert Contrast.parse("name", str(contrast), ORDERINGS) == contrast


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bn/gn", "contrast order is 'bn/gn', but must be a difference such as"),
        ("bn/gn - gn/bn - none/none", "must be a difference such as"),
        ("bn/gn - max(gn/bn)", "must be a difference such as"),
        (3, "contrast order is 3, but must be a difference such as"),
        ("bn/gn - bn/gn", "contrast order is 'bn/gn - bn/gn', but must be each ordering once"),
        ("bn/gn - mean(gn/bn, gn/bn)", "must be each ordering once"),
        ("bn/gn - gn/gn", "contrast order is 'gn/gn', but must be the study's bn/none, gn/none"),
    ],
)
def test_what_is_no_contrast_of_the_studys_orderings_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Contrast.parse("order", text, ORDERINGS)


def test_differences_are_taken_pair_by_pair_and_of_group_means(make_frame):
    frame = make_frame({"bn": [1.0, 2.0], "gn": [3.0, 8.0], "none": [1.5, 2.5]})
    contrast = Contrast("two", ("bn/none", "gn/none"), ("none/none",))
    assert verdicts.paired_differences(frame, contrast, "train_loss").to_dict() == {0: 0.5, 1: 2.5}


def test_a_seed_with_a_missing_run_is_left_out_a_diverged_run_is_not(make_frame):
    frame = make_frame({"bn/gn": [1.0, 2.0, math.nan, 4.0], "gn/bn": [0.5, 1.0, 1.5]})
    found = verdicts.paired_differences(frame, ORDER, "train_loss")
    assert found.index.tolist() == [0, 1, 2]
    assert found.tolist()[:2] == [0.5, 1.0]
    assert math.isnan(found[2])


def test_a_measure_that_the_records_lack_is_refused(make_frame):
    with pytest.raises(RequestError, match=r"measure is 'loss', but must be train_loss, train_accuracy"):
        verdicts.paired_differences(make_frame({"bn/gn": [1.0], "gn/bn": [1.0]}), ORDER, "loss")


def test_runs_of_different_settings_are_not_paired(make_frame, make_record):
    from normlib.runs.store import to_frame

    frame = to_frame([make_record("bn/gn", 0), make_record("gn/bn", 0, batch_size=64)])
    with pytest.raises(RequestError, match="batch_size of 32 and 64"):
        verdicts.paired_differences(frame, ORDER, "train_loss")


def test_a_run_that_stands_twice_is_refused(make_frame):
    frame = make_frame({"bn/gn": [1.0], "gn/bn": [1.0]})
    with pytest.raises(RequestError, match="records is 'bn/gn, seed 0, twice', but must be each run once"):
        verdicts.paired_differences(pd.concat([frame, frame]), ORDER, "train_loss")
