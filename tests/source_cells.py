"""The source notebook's cells, plainly: the reference that normlib has to equal to the last bit.

As in the source, but for what cannot be: the seed is set, the data are passed in, GroupNormalization comes from the
provider that is installed, and the parts that all four cells share are written once.
"""

import tensorflow as tf

from normlib import stack


def batch_normalization():
    return tf.keras.layers.BatchNormalization(axis=3)


def group_normalization():
    if stack.resolve_provider("auto") == "keras":
        return tf.keras.layers.GroupNormalization(groups=5, axis=3)
    import tensorflow_addons as tfa

    return tfa.layers.GroupNormalization(groups=5, axis=3)


def instance_1():
    return classifier([batch_normalization], [])


def instance_2():
    return classifier([group_normalization], [])


def instance_3():
    """Labelled "Batch and then Group" in the source."""
    return classifier([group_normalization], [batch_normalization])


def instance_4():
    """Labelled "Group Then Batch" in the source."""
    return classifier([batch_normalization], [group_normalization])


def classifier(after_first, after_second):
    return tf.keras.models.Sequential(
        [
            tf.keras.layers.Reshape((28, 28, 1), input_shape=(28, 28)),
            tf.keras.layers.Conv2D(filters=10, kernel_size=(3, 3), data_format="channels_last"),
            *[make() for make in after_first],
            tf.keras.layers.Conv2D(filters=10, kernel_size=(3, 3)),
            *[make() for make in after_second],
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dropout(0.2),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )


def run(cell, x_test, y_test, seed):
    """Run one of the cells and return the loss and the accuracy that it prints."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    model = cell()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x_test, y_test, verbose=0).history
    return history["loss"], history["accuracy"]
