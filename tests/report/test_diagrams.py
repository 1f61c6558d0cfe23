import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY, KINDS, normalization_layer
from normlib.report.diagrams import PLAIN, Box, model_boxes, plot_model, plot_normalization_axes


def texts(instance):
    _, axis = plot_model(instance)
    return [text.get_text().replace("\n", " ") for text in axis.texts if text.get_text()]


def test_the_picture_shows_what_stands_where_with_groups_and_activation():
    assert texts(Instance("none/ln")) == [
        "image 28 × 28",
        "convolution 1 3 × 3, 10 channels",
        "slot 1 empty",
        "convolution 2 3 × 3, 10 channels",
        "LayerNorm 1 group of 10 channels",
        "dense 128 ReLU, dropout 0.2",
        "dense 10 softmax",
    ]
    found = texts(Instance("gn+in/none", groups=2, activation="relu"))
    assert found[2:5] == ["GroupNorm 2 groups of 5 channels", "InstanceNorm 10 groups of 1 channel", "ReLU"]


def test_a_residual_networks_picture_shows_its_stem_and_the_pattern_of_its_blocks():
    assert texts(Instance("bn/gn", "resnet20")) == [
        "image 28 × 28",
        "convolution 3 × 3, 16 channels",
        "BatchNorm",
        "ReLU; 9 blocks of",
        "convolution 3 × 3, 16, 32, 64 channels",
        "BatchNorm",
        "ReLU",
        "convolution 3 × 3, 16, 32, 64 channels",
        "GroupNorm 8 groups of 2, 4, 8 channels",
        "+ input of the block, ReLU",
        "mean over positions",
        "dense 10 softmax",
    ]


def test_a_transformers_picture_shows_a_sublayer_with_its_three_places_and_the_residual_line():
    instance = Instance("lnc/rms/none", "vit")
    assert texts(instance)[1:] == [
        "16 patches, 64 channels, + positions",
        "12 sublayers of",
        "LayerNorm of channels",
        "attention or MLP",
        "RMSNorm",
        "+ input of the sublayer",
        "slot 3 empty",
        "at the end, RMSNorm",
        "mean over tokens",
        "dense 10 softmax",
    ]
    (line,) = plot_model(instance)[1].lines
    boxes = model_boxes(instance)
    start, end = 3, next(i for i, box in enumerate(boxes) if box.skips) + 0.5
    assert list(line.get_xdata()) == [start, start, end]  # from what enters the sublayer to the sum
    assert boxes[start].kind == "lnc"


def test_of_a_model_of_ones_own_the_picture_shows_the_pattern_without_importing_it():
    found = texts(Instance("gn/none", "my.models:small"))
    assert found == ["image 28 × 28", "small of models: its BatchNorms", "GroupNorm", "none", "and so on, in turn"]


def test_every_kind_has_a_colour_of_its_own_and_black_text_on_it_a_contrast_of_more_than_ten_to_one():
    """WCAG 2.2, relative luminance and contrast ratio."""
    colours = [Box("", kind).colour for kind in (*KINDS, EMPTY, PLAIN)]
    assert len(set(colours)) == len(colours)
    channels = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    assert ((linear @ (0.2126, 0.7152, 0.0722) + 0.05) / 0.05).min() > 10


def part(axis):
    """Return height and width, in cells, of the part that is in colour."""
    (rectangle,) = (patch for patch in axis.patches if isinstance(patch, Rectangle))
    return rectangle.get_height(), rectangle.get_width()


def test_each_panel_colours_one_part_that_shares_a_mean_and_says_how_many_there_are():
    _, axes = plot_normalization_axes(images=3, channels=6, groups=3)
    assert [part(axis) for axis in axes] == [(3, 1), (1, 2), (1, 6), (1, 1)]
    titles = [axis.get_title() for axis in axes]
    assert titles == ["BatchNorm: 6 means", "GroupNorm: 9 means", "LayerNorm: 3 means", "InstanceNorm: 18 means"]


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


def test_wrong_numbers_are_refused():
    with pytest.raises(RequestError, match="groups is 4, but must be a divisor of the 6 channels"):
        plot_normalization_axes(images=3, channels=6, groups=4)
    with pytest.raises(RequestError, match="images is 0, but must be a whole number from 1 up"):
        plot_normalization_axes(images=0)
