"""Contrasts: what their text means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis.contrasts import Contrast, family, read_contrasts
from normlib.errors import RequestError

ORDERINGS = ["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"]
SIZES = [{"batch_size": [32, 2], "learning_rate": [0.1, 0.01]}]
CROSSED = [{"batch_size": [32, 2]}, {"activation": ["none", "relu"]}]


def terms(text, varies=()):
    return {term[1:]: term.weight for term in Contrast.parse("name", text, ORDERINGS, varies).terms}


def test_a_side_is_an_ordering_or_a_mean_of_several_in_full_or_short_form():
    assert terms("mean(bn/gn, gn) - none") == {("bn/gn", ()): 0.5, ("gn/none", ()): 0.5, ("none/none", ()): -1}


def test_a_side_may_name_its_condition():
    assert terms("bn at batch_size 2 - bn at batch_size 32", SIZES) == {
        ("bn/none", (("batch_size", "2"),)): 1,
        ("bn/none", (("batch_size", "32"),)): -1,
    }
    text = "mean(bn at batch_size 2, bn at batch_size 32) - mean(gn, none) at batch_size 2"
    assert list(terms(text, SIZES).values()) == [0.5, 0.5, -0.5, -0.5]
    assert terms("bn at batch_size 2.0 - bn at batch_size 32", SIZES) == terms(
        "bn at batch_size 2 - bn at batch_size 32", SIZES
    )
    text = "bn at batch_size 2 and activation relu - bn at activation none and batch_size 2"
    assert [condition for _, condition in terms(text, CROSSED)] == [
        (("batch_size", "2"), ("activation", "relu")),
        (("activation", "none"), ("batch_size", "2")),
    ]


def test_a_difference_of_differences_is_their_four_terms():
    two, many = (("batch_size", "2"),), (("batch_size", "32"),)
    assert terms("(gn - bn) at batch_size 2 - (gn - bn) at batch_size 32", SIZES) == {
        ("gn/none", two): 1,
        ("bn/none", two): -1,
        ("gn/none", many): -1,
        ("bn/none", many): 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "mean(bn, gn) - none",
        "(gn - bn) at batch_size 2 - (gn - bn) at batch_size 32",
        "mean(bn at batch_size 2, gn at batch_size 2) - none at batch_size 32",
    ],
)
def test_a_contrast_is_written_in_full_and_reads_the_same(text):
    contrast = Contrast.parse("name", text, ORDERINGS, SIZES)
    assert Contrast.parse("name", str(contrast), ORDERINGS, SIZES) == contrast


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bn/gn", "contrast order is 'bn/gn', but must be a difference such as"),
        ("bn/gn - gn/bn - none/none", "must be a difference such as"),
        ("bn/gn - max(gn/bn)", "must be a difference such as"),
        ("(bn/gn - gn/bn", "must be a difference such as"),
        ("bn at batch_size - gn", "must be a difference such as"),
        ("bn at batch_size 2 at batch_size 2 - gn at batch_size 2", "must be a difference such as"),
        ("(gn - bn at batch_size 2) at batch_size 2 - none", "must be a difference such as"),
        ("bn at batch_size 2 and batch_size 2 - gn at batch_size 2", "must be a difference such as"),
        ("mean(mean(bn, gn), none) - bn/gn", "must be a difference such as"),
        ("mean((bn - gn), none) - bn/gn", "must be a difference such as"),
        ("(bn - gn) - none", "its sides must be alike: orderings and means of them, or differences"),
        (3, "contrast order is 3, but must be a difference such as"),
        ("bn/gn - bn/gn", "contrast order is 'bn/gn - bn/gn', but each ordering may stand in it only once"),
        ("bn at batch_size 2 - bn at batch_size 2", "only once, or once under each condition"),
        ("bn/gn - gn/gn", "an ordering of contrast order is 'gn/gn', but must be one of bn/none, gn/none"),
        ("bn/gn - xn", "an ordering of contrast order is 'xn', but must be bn, gn, ln"),
        ("bn at epochs 2 - gn at epochs 2", "a setting of contrast order is 'epochs', but must be one of those that"),
        ("bn at batch_size 8 - gn at batch_size 8", "'batch_size 8', but must be one of batch_size 32, batch_size 2"),
        ("bn at batch_size 2 - gn", "all its orderings must name the same settings, or none"),
    ],
)
def test_what_is_no_contrast_of_the_studys_orderings_and_conditions_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Contrast.parse("order", text, ORDERINGS, SIZES)


def test_a_value_may_have_spaces_and_the_word_that_joins_settings():
    varies = [{"data set": ["CIFAR 10", "black and white"]}, {"batch_size": [2]}]
    text = "bn at data set black and white and batch_size 2.0 - bn at batch_size 2 and data set CIFAR 10"
    contrast = Contrast.parse("data", text, ORDERINGS, varies)
    assert [dict(term.condition)["data set"] for term in contrast.terms] == ["black and white", "CIFAR 10"]
    assert contrast.conditions == {"data set black and white", "data set CIFAR 10", "batch_size 2"}


def test_where_nothing_varies_no_condition_can_be_named():
    with pytest.raises(RequestError, match="'batch_size', but nothing varies besides the ordering"):
        Contrast.parse("order", "bn at batch_size 2 - gn at batch_size 2", ORDERINGS)


@given(st.text(max_size=30))
def test_any_other_text_is_refused(text):
    with pytest.raises(RequestError):
        Contrast.parse("any", f"{text}?", ORDERINGS, SIZES)


def test_a_contrast_stands_in_the_family_under_each_value_of_what_it_does_not_name():
    texts = {"plain": "bn - gn", "size": "bn at batch_size 2 - bn at batch_size 32", "both": "bn - none"}
    rows = family(read_contrasts(texts, ORDERINGS, CROSSED), CROSSED)
    plain = ["batch_size 32, activation none", "batch_size 32, activation relu"]
    plain += ["batch_size 2, activation none", "batch_size 2, activation relu"]
    assert [(row.contrast.name, row.condition) for row in rows] == [
        *(("plain", condition) for condition in plain),
        ("size", "activation none"),
        ("size", "activation relu"),
        *(("both", condition) for condition in plain),
    ]


@pytest.mark.parametrize(
    ("text", "without", "left"),
    [
        ("mean(bn, gn) - none", "gn/none", {"bn/none": 1, "none/none": -1}),
        ("mean(bn, gn, gn/bn) - none", "gn/none", {"bn/none": 0.5, "gn/bn": 0.5, "none/none": -1}),
        ("bn - gn", "gn/none", None),
        ("mean(bn, gn) - none", "none/none", None),
        ("mean(bn, gn) - none", "gn/bn", None),
    ],
)
def test_an_ordering_can_be_left_out_of_a_mean_of_several(text, without, left):
    rest = Contrast.parse("name", text, ORDERINGS).without(without)
    assert (rest and {term.ordering: term.weight for term in rest.terms}) == left
