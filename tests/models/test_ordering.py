import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.models.kinds import KINDS
from normlib.models.ordering import SOURCE_INSTANCES, Ordering, short_form

slots = st.lists(st.sampled_from(list(KINDS)), max_size=3).map(tuple)


def test_slots_and_layers_are_read_in_data_flow_order():
    assert Ordering.parse("gn+bn/none/ln", 3).slots == (("gn", "bn"), (), ("ln",))


@pytest.mark.parametrize(
    ("typed", "full"),
    [("bn", "bn/none"), (" BN / gn ", "bn/gn"), ("BN + my.norms:Centred", "bn+my.norms:Centred/none")],
)
def test_what_is_shown_is_the_full_form(typed, full):
    assert str(Ordering.parse(typed, 2)) == full
    assert short_form(full) == full.replace("my.norms:", "")


@given(st.lists(slots, min_size=1, max_size=4).map(tuple))
def test_parse_is_the_inverse_of_str(layers):
    assert Ordering.parse(str(Ordering(layers)), len(layers)) == Ordering(layers)


@pytest.mark.parametrize("text", ["", "xx", "bn+", "bn//gn", "bn+none", "/bn", "batchnorm", None, 3, "bn gn"])
def test_an_unknown_kind_is_refused(text):
    with pytest.raises(RequestError, match=r"ordering is .*, but must be bn, gn, ln, in"):
        Ordering.parse(text, 2)


def test_source_instances_are_named_by_their_code_not_by_their_label():
    """The saved outputs of the source tie 0.4598 to the cell in which GroupNorm comes first."""
    third, fourth = SOURCE_INSTANCES["gn/bn"], SOURCE_INSTANCES["bn/gn"]
    assert (third.number, third.label, third.loss, third.accuracy) == (3, "Batch and then Group", 0.4598, 0.8695)
    assert (fourth.number, fourth.label, fourth.loss, fourth.accuracy) == (4, "Group Then Batch", 0.4683, 0.8658)
    assert (SOURCE_INSTANCES["bn/none"].loss, SOURCE_INSTANCES["bn/none"].accuracy) == (0.4021, 0.8783)
    assert (SOURCE_INSTANCES["gn/none"].loss, SOURCE_INSTANCES["gn/none"].accuracy) == (0.4263, 0.8714)


@pytest.mark.parametrize(
    ("text", "shortest"),
    [("gn/gn", "gn"), ("bn/gn/bn/gn", "bn/gn"), ("bn/gn/bn", "bn/gn/bn"), ("none", "none"), ("bn+gn/bn+gn", "bn+gn")],
)
def test_of_what_is_repeated_along_a_model_the_shortest_form_is_kept(text, shortest):
    assert str(Ordering.parse(text, None).shortest) == shortest
    assert Instance(text, "my:model").ordering == shortest
