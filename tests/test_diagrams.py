import pytest

from normlib.diagrams import plot_model
from normlib.instance import Instance


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
