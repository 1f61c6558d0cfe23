"""The models that come with normlib, with slots for normalization; the source notebook's CNN first.

Layers are named after their place: the convolution before slot 3 is ``convolution_3``, the first layer in it
``slot_3_1``. Where they are looked for (``normlib.runs.diagnose``), they are found by that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlib.models.kinds import normalization_layer

if TYPE_CHECKING:
    from normlib.models.instance import Instance

ACTIVATION = "activation"
ACTIVATIONS = ("none", "relu")
OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")
SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Model:
    """All that is known of a model, its builder among it.

    Args:
        build: Builds it, not compiled, from ``tf.keras``, so that TensorFlow is not needed here, and an Instance. None:
            a model of one's own, which is built elsewhere.
        follows: What follows each slot of an ordering, in short lines; ``ACTIVATION`` where that is a setting. Empty:
            an ordering of any length, since the model is built elsewhere.
        channels: Numbers of channels of the convolutions before the slots, in turn; in a model of blocks, of all.
        groups: GroupNorm's number of groups unless the user sets one.
        smallest_image: Height and width that an image has at least.
        start: What stands before the first block, where it has no slot.
        end: What stands before the classes, in short lines.
        blocks: How often all slots are repeated; 0: no blocks. Without a ``start``, a convolution whose slot is as the
            first one stands before them.
        side_divisor: Height and width of an image are multiples of it.
        activations: Values of ``activation`` that it takes; a model with activations of its own takes but ``none``.
        layer: What stands before each slot; ``sublayer``: the slots stand around a sublayer of a transformer.
    """

    build: Callable[[Any, Instance], Any] | None
    follows: tuple[str, ...]
    channels: tuple[int, ...]
    groups: int
    smallest_image: int
    start: str = ""
    end: str = ""
    blocks: int = 0
    side_divisor: int = 1
    activations: tuple[str, ...] = ("none",)
    layer: str = "convolution"

    @property
    def has_positions(self) -> bool:
        """Whether what enters a slot has positions besides its channels."""
        return self.layer != "dense"

    @property
    def has_tokens(self) -> bool:
        """Whether what enters a slot are the tokens of a transformer."""
        return self.layer == "sublayer"

    @property
    def slots(self) -> int | None:
        """Length of an ordering; None: any."""
        return len(self.follows) or None


def source_cnn(keras: Any, instance: Instance) -> Any:
    """Build the source's CNN: two 3 x 3 convolutions of 10 filters, a slot behind each, and two dense layers."""
    layers = _first_layers(keras, instance)
    for place, kinds in enumerate(instance.layers.slots, start=1):
        layers.append(keras.layers.Conv2D(filters=10, kernel_size=(3, 3), name=f"convolution_{place}"))
        layers += _slot(instance, place, kinds, channels=10)
        if instance.activation != "none":
            # After the slot: normalization right before the nonlinearity, as in Ioffe and Szegedy 2015, section 3.2.
            layers.append(keras.layers.Activation(instance.activation))
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(instance.data_facts.classes, activation="softmax"),
    ]
    return keras.Sequential(layers)


def convnet(keras: Any, instance: Instance) -> Any:
    """Build four 3 x 3 convolutions of 16 filters, each with a slot and ReLU behind it; pooling after every second."""
    layers = _first_layers(keras, instance)
    for place, kinds in enumerate(instance.layers.slots, start=1):
        layers.append(keras.layers.Conv2D(16, (3, 3), padding="same", name=f"convolution_{place}"))
        layers += [*_slot(instance, place, kinds, channels=16), keras.layers.ReLU()]
        layers += [] if place % 2 else [keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(instance.data_facts.classes, activation="softmax")]
    return keras.Sequential(layers)


def small_maps(keras: Any, instance: Instance) -> Any:
    """Build four 3 x 3 convolutions with stride 2, each with a slot and ReLU behind it; then the mean over positions.

    The last slot sees 2 x 2 positions of a 28 x 28 image, so that a batch's statistics are over few numbers.
    """
    layers = _first_layers(keras, instance)
    for place, (kinds, filters) in enumerate(zip(instance.layers.slots, (16, 32, 32, 64), strict=True), start=1):
        layers.append(keras.layers.Conv2D(filters, (3, 3), 2, "same", name=f"convolution_{place}"))
        layers += [*_slot(instance, place, kinds, channels=filters), keras.layers.ReLU()]
    layers.append(keras.layers.GlobalAveragePooling2D())
    return keras.Sequential([*layers, keras.layers.Dense(instance.data_facts.classes, activation="softmax")])


def dense(keras: Any, instance: Instance) -> Any:
    """Build two dense layers of 128 with ReLU, and a slot between each and its ReLU: there are no positions."""
    layers = [keras.Input(instance.data_facts.image_shape), keras.layers.Flatten()]
    for place, kinds in enumerate(instance.layers.slots, start=1):
        layers.append(keras.layers.Dense(128, name=f"hidden_{place}"))
        layers += [*_slot(instance, place, kinds, channels=128), keras.layers.ReLU()]
    classes = keras.layers.Dense(instance.data_facts.classes, activation="softmax", name="classes")
    return keras.Sequential([*layers, classes])


def resnet20(keras: Any, instance: Instance) -> Any:
    """Build ResNet-20 as for CIFAR: three stages of three blocks, shortcuts without parameters.

    He, Zhang, Ren and Sun 2016, arXiv 1512.03385, section 4.2, option A. Each block has two slots, and the ordering is
    the pattern of a block; the slot behind the first convolution counts as slot one. There, a convolution has no bias,
    since BatchNorm has an offset; here it has one where nothing stands in its slot.
    """

    def convolution(x: Any, place: int, kinds: tuple[str, ...], filters: int, strides: int = 1) -> Any:
        # He et al. 2015, arXiv 1502.01852, section 2.2, as the paper has it.
        x = keras.layers.Conv2D(
            filters, (3, 3), strides, "same", use_bias=not kinds, kernel_initializer="he_normal",
            name=f"convolution_{place}",
        )(x)  # fmt: skip
        return _apply(_slot(instance, place, kinds, filters), x)

    inputs, *first = _first_layers(keras, instance)
    before, branch = instance.layers.slots
    x = keras.layers.ReLU()(convolution(_apply(first, inputs), 1, before, filters=16))
    place = 2
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage > 0 and block == 0 else 1
            y = keras.layers.ReLU()(convolution(x, place, before, filters, strides))
            y = convolution(y, place + 1, branch, filters)
            x = keras.layers.ReLU()(keras.layers.Add()([y, _shortcut(keras, x, strides)]))
            place += 2
    x = keras.layers.GlobalAveragePooling2D()(x)
    classes = keras.layers.Dense(instance.data_facts.classes, activation="softmax", kernel_initializer="he_normal")
    return keras.Model(inputs, classes(x))


def vit(keras: Any, instance: Instance) -> Any:
    """Build a small vision transformer: 16 patches of 64 channels, six times attention and then an MLP.

    Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1, with the mean over tokens instead of a class token, and
    without dropout. Attention and MLP are sublayers, and the ordering is the pattern of one: slots before it, on its
    branch, and after the sum with what entered it. ``lnc/none/none`` is pre-norm (Xiong et al. 2020, arXiv 2002.04745,
    figure 1b), ``none/none/lnc`` post-norm (Vaswani et al. 2017, arXiv 1706.03762, section 3.1), ``lnc/lnc/none`` the
    sandwich of Ding et al. 2021 (arXiv 2105.13290, section 2.4), ``none/lnc/none`` the residual post-norm of Liu et al.
    2022 (arXiv 2111.09883, section 3.2). Where nothing stands after the sum, the sums grow from layer to layer: the
    last kind of the other slots then stands once more before the mean.
    """
    inputs, *first = _first_layers(keras, instance)
    height, width, channels = _apply(first, inputs).shape[1:]
    patches = (
        keras.layers.Reshape((4, height // 4, 4, width // 4, channels)),
        keras.layers.Permute((1, 3, 2, 4, 5)),
        keras.layers.Reshape((16, height * width * channels // 16)),
        # One kernel for all patches, and for each an offset of its own, which is its learned position. With the usual
        # standard deviation of 0.02 they tell tokens apart only after some epochs.
        keras.layers.EinsumDense(
            "btp,pc->btc", (16, 64), bias_axes="tc", name="patches",
            bias_initializer=keras.initializers.RandomNormal(stddev=0.2),
        ),
    )  # fmt: skip
    x = _apply([*first, *patches], inputs)
    (before, branch, after), sublayers = instance.layers.slots, instance.model_facts.blocks

    def slot(place: int, kinds: tuple[str, ...]) -> list[Any]:
        return _slot(instance, place, kinds, 64) or [keras.layers.Identity(name=f"slot_{place}_1")]

    for sublayer in range(sublayers):
        number, place = sublayer // 2 + 1, 3 * sublayer
        y = _apply(slot(place + 1, before), x)
        if sublayer % 2:
            wide = keras.layers.Dense(128, activation="gelu", name=f"mlp_{number}_wide")
            y = _apply([wide, keras.layers.Dense(64, name=f"mlp_{number}")], y)
        else:
            y = keras.layers.MultiHeadAttention(num_heads=4, key_dim=16, name=f"attention_{number}")(y, y)
        y = _apply(slot(place + 2, branch), y)
        x = _apply([keras.layers.Add(), *slot(place + 3, after)], [x, y])
    x = _apply(_slot(instance, 3 * sublayers + 1, last_kind(instance.layers.slots), 64), x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(instance.data_facts.classes, activation="softmax", name="classes")(x))


def last_kind(slots: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return what stands once more before the mean of a transformer with these slots: a kind or nothing."""
    before, branch, after = slots
    return () if after else (branch or before)[-1:]


def _apply(layers: Iterable[Any], x: Any) -> Any:
    """Return what some layers, one after the other, make of a tensor."""
    return functools.reduce(lambda x, layer: layer(x), layers, x)


def _first_layers(keras: Any, instance: Instance) -> list[Any]:
    """Return the input, and what gives images without channels one."""
    shape = instance.data_facts.image_shape
    reshape = [keras.layers.Reshape((*shape, 1))] if len(shape) == 2 else []
    return [keras.Input(shape), *reshape]


def _slot(instance: Instance, place: int, kinds: tuple[str, ...], channels: int) -> list[Any]:
    how = (channels, instance.groups_of(channels), instance.momentum, instance.provider, instance.epsilon)
    return [
        normalization_layer(kind, *how, instance.statistics_batch, name=f"slot_{place}_{i}", axis=-1)
        for i, kind in enumerate(kinds, start=1)
    ]


def _shortcut(keras: Any, x: Any, strides: int) -> Any:
    """Return the input; where the block makes it smaller, every second position, with as many channels of zeros."""
    if strides == 1:
        return x
    x = keras.layers.MaxPooling2D(pool_size=1, strides=strides, padding="same")(x)
    return keras.layers.Concatenate()([x, keras.layers.Rescaling(0.0)(x)])


MODELS = {
    "source_cnn": Model(
        source_cnn,
        follows=(ACTIVATION, ACTIVATION),
        channels=(10,),
        groups=5,
        smallest_image=5,
        end="dense 128\nReLU,\ndropout 0.2",
        activations=ACTIVATIONS,
    ),
    "convnet": Model(convnet, ("ReLU", "ReLU,\npooling") * 2, (16,), groups=8, smallest_image=4),
    "small_maps": Model(
        small_maps, ("ReLU",) * 4, (16, 32, 32, 64), groups=8, smallest_image=8, end="mean over\npositions"
    ),
    "dense": Model(dense, ("ReLU", "ReLU"), (128,), groups=8, smallest_image=1, layer="dense"),
    # The ordering is the pattern of a block, in a transformer of a sublayer.
    "resnet20": Model(
        resnet20,
        follows=("ReLU", "+ input\nof the block,\nReLU"),
        channels=(16, 32, 64),
        groups=8,
        smallest_image=4,
        end="mean over\npositions",
        blocks=9,
    ),
    "vit": Model(
        vit,
        follows=("attention\nor MLP", "+ input of\nthe sublayer", ""),
        channels=(64,),
        groups=8,
        smallest_image=4,
        start="16 patches,\n64 channels,\n+ positions",
        end="mean over\ntokens",
        blocks=12,
        side_divisor=4,
        layer="sublayer",
    ),
}
# A model of one's own; the number of groups is Wu and He's (2018) and Keras' default.
OWN_MODEL = Model(None, (), (), groups=32, smallest_image=1)
