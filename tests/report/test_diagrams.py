import pytest

from normlib.models.instance import Instance
from normlib.report.diagrams import plot_model


def boxes(instance):
    _, axis = plot_model(instance)
    return [text.get_text().replace("\n", " ") for text in axis.texts if text.get_text()]


@pytest.mark.parametrize(
    ("ordering", "between"),
    [
        ("gn/bn", ["GroupNorm 5 groups of 2 channels", "convolution 2 3 × 3, 10 channels", "BatchNorm"]),
        ("bn/none", ["BatchNorm", "convolution 2 3 × 3, 10 channels", "slot 2 empty"]),
        ("none/ln", ["slot 1 empty", "convolution 2 3 × 3, 10 channels", "LayerNorm 1 group of 10 channels"]),
    ],
)
def test_the_picture_shows_what_stands_where(ordering, between):
    head = ["dense 128 ReLU, dropout 0.2", "dense 10 softmax"]
    expected = ["image 28 × 28", "convolution 1 3 × 3, 10 channels", *between, *head]
    assert boxes(Instance(ordering)) == expected


def test_groups_and_activation_are_in_the_picture():
    texts = boxes(Instance("gn+in/none", groups=2, activation="relu"))
    assert texts[2:5] == ["GroupNorm 2 groups of 5 channels", "InstanceNorm 10 groups of 1 channel", "ReLU"]


def test_a_residual_networks_picture_shows_its_stem_and_the_pattern_of_its_blocks():
    assert boxes(Instance("bn/gn", "resnet20")) == [
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


def test_a_plain_networks_picture_shows_its_four_slots_and_where_it_pools():
    texts = boxes(Instance("gn/none/bn", "convnet", channels_per_group=4))
    assert texts[2:4] == ["GroupNorm 4 groups of 4 channels", "ReLU"]
    assert [texts[i] for i in (5, 6, 9, 11, 12)] == [
        "slot 2 empty",
        "ReLU, pooling",
        "ReLU",
        "slot 4 empty",
        "ReLU, pooling",
    ]


def test_of_a_model_of_ones_own_the_picture_shows_the_pattern_without_importing_it():
    texts = boxes(Instance("gn/none", "my.models:small"))
    assert texts == ["image 28 × 28", "small of models: its BatchNorms", "GroupNorm", "none", "and so on, in turn"]
