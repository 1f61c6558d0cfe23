import matplotlib as mpl
import pytest

from normlib.report import style
from normlib.report.style import in_style, subplots


def test_the_alternative_text_tells_panels_axes_categories_and_legend():
    figure, (left, right) = subplots(1, 2, shows="Bars of two things")
    left.bar(["bn/none", "gn/bn"], [1, 2], label="mean")
    left.set_title("loss", loc="left")
    left.set_xlabel("ordering")
    right.plot([1, 2], [3, 4])
    right.set_ylabel("seconds")
    figure.legend(*left.get_legend_handles_labels())
    assert figure.alternative_text == (
        "Bars of two things. loss; x axis, ordering: bn/none, gn/bn. y axis, seconds. legend: mean."
    )


def test_places_on_a_scale_hidden_panels_and_bare_ones_are_not_told_and_the_text_stands_beside_the_picture():
    figure, axes = subplots(1, 3, shows="Lines")
    axes[0].semilogy([1, 2], [1e-3, 1e3])
    axes[1].set_visible(False)
    axes[2].set_axis_off()
    axes[2].set_title("unseen")
    assert figure._repr_mimebundle_() == ({}, {"image/png": {"alt": "Lines."}})


def test_of_many_panels_the_first_are_told():
    figure, axes = style.panels(8, 5, (1, 1), "Many")
    for number, axis in enumerate(axes):
        axis.set_title(f"panel {number}")
    assert figure.alternative_text.endswith("panel 5. and 2 more panels.")


def test_a_style_holds_while_a_function_draws_and_leaves_alone_what_is_set_meanwhile():
    """A notebook's backend turns ``interactive`` on at its first figure; turned off again, no later one is shown."""
    before = dict(mpl.rcParams)

    @in_style()
    def draw():
        assert mpl.rcParams["axes.spines.top"] is False
        mpl.rcParams["interactive"] = True
        raise ValueError

    try:
        with pytest.raises(ValueError):  # noqa: PT011
            draw()
        assert {name for name, value in mpl.rcParams.items() if before[name] != value} == {"interactive"}
    finally:
        mpl.rcParams["interactive"] = before["interactive"]


def test_colours_are_distinct_and_stay_with_their_ordering():
    four = style.styles(["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"])
    assert len(set(four.values())) == 5
    assert style.styles(["gn/bn", "in/ln"])["gn/bn"] == four["gn/bn"]


def test_lines_can_be_told_apart_without_colour_and_the_baseline_is_black():
    looks = style.line_styles(["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"])
    assert len({(look["linestyle"], look["marker"]) for look in looks.values()}) == 5
    assert [name for name, look in looks.items() if look["color"] == "black"] == ["none/none"]


def test_scales_end_where_losses_and_accuracies_do():
    _, (loss, accuracy, other) = subplots(1, 3, shows="Three panels")
    for axis, figure in ((loss, "loss"), (accuracy, "accuracy"), (other, "")):
        axis.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
        style.within_bounds(axis, figure)
    assert [axis.get_ylim() for axis in (loss, accuracy, other)] == [(0, 1.1), (0, 1), (-0.1, 1.1)]
    assert loss.get_xlim() == (-0.1, 1.1)
