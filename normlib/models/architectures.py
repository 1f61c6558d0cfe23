"""The models that come with normlib, with slots for normalization; the source notebook's CNN first.

Layers are named after their place: the convolution before slot 3 is ``convolution_3``, the first layer in it
``slot_3_1``. Where they are looked for (``normlib.runs.diagnosis``), they are found by that.
"""

from __future__ import annotations

from normlib.models.instance import Instance
from normlib.models.normalization import normalization_layer
from normlib.tensorflow_quietly import tf


def source_cnn(instance: Instance) -> tf.keras.Model:
    """Build the source's CNN: two 3 x 3 convolutions of 10 filters, a slot behind each, and two dense layers."""
    keras = tf.keras
    layers = _first_layers(instance)
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


def convnet(instance: Instance) -> tf.keras.Model:
    """Build four 3 x 3 convolutions of 16 filters, each with a slot and ReLU behind it; pooling after every second."""
    keras = tf.keras
    layers = _first_layers(instance)
    for place, kinds in enumerate(instance.layers.slots, start=1):
        layers.append(keras.layers.Conv2D(16, (3, 3), padding="same", name=f"convolution_{place}"))
        layers += [*_slot(instance, place, kinds, channels=16), keras.layers.ReLU()]
        layers += [] if place % 2 else [keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(instance.data_facts.classes, activation="softmax")]
    return keras.Sequential(layers)


def resnet20(instance: Instance) -> tf.keras.Model:
    """Build ResNet-20 as for CIFAR: three stages of three blocks, shortcuts without parameters.

    He, Zhang, Ren and Sun 2016, arXiv 1512.03385, section 4.2, option A. Each block has two slots, and the ordering is
    the pattern of a block; the slot behind the first convolution counts as slot one. There, a convolution has no bias,
    since BatchNorm has an offset; here it has one where nothing stands in its slot.
    """
    keras = tf.keras
    inputs, *first = _first_layers(instance)
    x = inputs
    for layer in first:
        x = layer(x)
    kinds = instance.layers.slots
    x = keras.layers.ReLU()(_convolution(instance, x, 1, kinds[0], filters=16))
    place = 2
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage > 0 and block == 0 else 1
            y = keras.layers.ReLU()(_convolution(instance, x, place, kinds[0], filters, strides))
            y = _convolution(instance, y, place + 1, kinds[1], filters)
            x = keras.layers.ReLU()(keras.layers.Add()([y, _shortcut(x, strides)]))
            place += 2
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(
        instance.data_facts.classes, activation="softmax", kernel_initializer="he_normal"
    )(x)  # fmt: skip
    return keras.Model(inputs, outputs)


def _first_layers(instance: Instance) -> list[tf.keras.layers.Layer]:
    """Return the input, and what gives images without channels one."""
    shape = instance.data_facts.image_shape
    reshape = [tf.keras.layers.Reshape((*shape, 1))] if len(shape) == 2 else []
    return [tf.keras.Input(shape), *reshape]


def _slot(instance: Instance, place: int, kinds: tuple[str, ...], channels: int) -> list[tf.keras.layers.Layer]:
    return [
        normalization_layer(
            kind,
            channels,
            instance.groups_of(channels),
            instance.momentum,
            instance.provider,
            instance.epsilon,
            name=f"slot_{place}_{number}",
        )
        for number, kind in enumerate(kinds, start=1)
    ]


def _convolution(
    instance: Instance, x: tf.Tensor, place: int, kinds: tuple[str, ...], filters: int, strides: int = 1
) -> tf.Tensor:
    """Return a residual network's 3 x 3 convolution, with its slot."""
    # He et al. 2015, arXiv 1502.01852, section 2.2, as the paper has it.
    x = tf.keras.layers.Conv2D(
        filters, (3, 3), strides, "same", use_bias=not kinds, kernel_initializer="he_normal",
        name=f"convolution_{place}",
    )(x)  # fmt: skip
    for layer in _slot(instance, place, kinds, filters):
        x = layer(x)
    return x


def _shortcut(x: tf.Tensor, strides: int) -> tf.Tensor:
    """Return the input; where the block makes it smaller, every second position, with as many channels of zeros."""
    if strides == 1:
        return x
    x = tf.keras.layers.MaxPooling2D(pool_size=1, strides=strides, padding="same")(x)
    return tf.keras.layers.Concatenate()([x, tf.keras.layers.Rescaling(0.0)(x)])


BUILDERS = {"source_cnn": source_cnn, "convnet": convnet, "resnet20": resnet20}
