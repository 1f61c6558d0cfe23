"""A model of one's own for normlib: its BatchNorm layers are the slots.

    cd examples && normlib study plain_network.yaml

``model: plain_network:build`` in the study's file names this module, which has to be where Python finds it (here: in
the folder in which the command is given), and the function. normlib hands it the shape of the data set's images and the
number of classes, and gives each BatchNorm what the ordering says.
"""

import tensorflow as tf


def build(input_shape, classes):
    """Return three 3 x 3 convolutions of 16, 32 and 64 filters with strides 2, each with BatchNorm and ReLU behind it.

    Args:
        input_shape: Height, width and channels.
        classes: Number of classes.
    """
    layers = [tf.keras.Input(input_shape)]
    for filters in (16, 32, 64):
        # Without a bias: the normalization behind it has an offset.
        layers.append(tf.keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False))
        layers.append(tf.keras.layers.BatchNormalization())
        layers.append(tf.keras.layers.ReLU())
    layers.append(tf.keras.layers.GlobalAveragePooling2D())
    layers.append(tf.keras.layers.Dense(classes, activation="softmax"))
    return tf.keras.Sequential(layers)
