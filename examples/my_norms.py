"""Kinds of normalization of one's own for normlib.

    cd examples && normlib study my_norms.yaml

``my_norms:Centred`` in the study's file names this module, which has to be where Python finds it (here: in the folder
where the command is given), and what stands in the slot: a Keras layer class, or a function from the numbers of
channels and of groups to a layer. A layer keeps the shape and the dtype of what it normalizes.
"""

import tensorflow as tf


class Centred(tf.keras.layers.Layer):
    """Subtract the mean over positions, for each image and channel; no division, nothing to train."""

    def call(self, inputs):
        """Return the centred inputs ``[batch, height, width, channels]``."""
        return inputs - tf.reduce_mean(inputs, axis=(1, 2), keepdims=True)


def without_offset(channels, groups):
    """Return GroupNorm with a scale and no offset."""
    return tf.keras.layers.GroupNormalization(groups, center=False)
