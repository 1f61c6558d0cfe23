import numpy as np
import pytest
from matplotlib.patches import Rectangle

from normlib.errors import RequestError
from normlib.models.kinds import normalization_layer
from normlib.report.diagrams import plot_normalization_axes


def part(axis):
    """Return height and width, in cells, of the part that is in colour."""
    (rectangle,) = (patch for patch in axis.patches if isinstance(patch, Rectangle))
    return rectangle.get_height(), rectangle.get_width()


def test_each_panel_colours_one_part_that_shares_a_mean_and_says_how_many_there_are():
    _, axes = plot_normalization_axes(images=3, channels=6, groups=3)
    assert [part(axis) for axis in axes] == [(3, 1), (1, 2), (1, 6), (1, 1)]
    titles = [axis.get_title() for axis in axes]
    assert titles == ["BatchNorm: 6 means", "GroupNorm: 9 means", "LayerNorm: 3 means", "InstanceNorm: 18 means"]


def test_borders_are_thick_where_a_part_ends():
    _, axes = plot_normalization_axes(images=2, channels=4, groups=2)
    across = [line for line in axes[1].lines if line.get_xdata()[0] == line.get_xdata()[1]]
    assert [line.get_linewidth() > 1 for line in across] == [True, False, True, False, True]


@pytest.mark.parametrize(("place", "kind"), list(enumerate(["bn", "gn", "ln", "in"])))
def test_the_layers_do_normalize_what_is_drawn_as_one_part(place, kind):
    """What lies in one part has mean zero after the layer, and what is less than a part has not."""
    images, channels = 3, 6
    _, axes = plot_normalization_axes(images, channels, groups=3)
    height, width = map(int, part(axes[place]))
    x = np.random.default_rng(0).normal(np.arange(images * channels).reshape(images, 1, 1, channels), 1.0, (3, 5, 5, 6))
    options = {"training": True} if kind == "bn" else {}
    y = np.array(normalization_layer(kind, channels, groups=3)(x.astype("float32"), **options))
    means = y.mean(axis=(1, 2)).reshape(images // height, height, channels // width, width).mean(axis=(1, 3))
    np.testing.assert_allclose(means, 0, atol=1e-4)
    if height * width > 1:
        assert np.abs(y.mean(axis=(1, 2))).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"groups": 4}, "groups is 4, but must be a divisor of the 6 channels"),
        ({"images": 0}, "images is 0, but must be a whole number from 1 up"),
    ],
)
def test_wrong_numbers_are_refused(changes, told):
    with pytest.raises(RequestError, match=told):
        plot_normalization_axes(**{"images": 3, "channels": 6, "groups": 3, **changes})
