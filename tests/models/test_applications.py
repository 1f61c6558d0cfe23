"""Models of other packages, where these are installed (extra ``zoo``): what is promised of any Keras model holds.

``make applications`` goes through all of them; nothing else does.
"""

import warnings

import numpy as np
import pytest

from normlib.models.readings import recalibrate
from normlib.models.swap import slots, swap
from normlib.tf import tf

IMAGES = np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype(np.float32)
TOKENS = {
    "token_ids": np.arange(16).reshape(2, 8) % 20 + 1,
    "padding_mask": np.ones((2, 8), np.int32),
    "segment_ids": np.zeros((2, 8), np.int32),
}


def of(module, name, x, **options):
    """Return a builder of a model with data for it, which skips the test where the module is not installed."""
    return lambda: (getattr(pytest.importorskip(module), name)(**options), x)


def attention(name):
    """Return a builder of a model of keras-cv-attention-models, of 64 x 64 pixels and ten classes."""
    module, name = name.split(".")
    options = {"input_shape": (64, 64, 3), "num_classes": 10, "pretrained": None}
    return of(f"keras_cv_attention_models.{module}", name, IMAGES, **options)


def classifier(name):
    """Return a builder of a model of image-classifiers."""

    def build():
        package = pytest.importorskip("classification_models.tfkeras")
        return package.Classifiers.get(name)[0](input_shape=(64, 64, 3), classes=10, weights=None), IMAGES

    return build


def unet(name, **options):
    """Return a builder of a model of keras-unet."""
    return of(f"keras_unet.models.{name}", name, IMAGES, input_shape=(64, 64, 3), **options)


def hub(name, x, **options):
    """Return a builder of a backbone of KerasHub."""
    return of("keras_hub.models", name, x, **options)


RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_strides": [1, 2],
}
TEXT = {"vocabulary_size": 30, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
MODELS = {
    **{
        name: attention(name)
        for name in (
            *("efficientnet.EfficientNetV2B0", "resnest.ResNest50", "coatnet.CoAtNet0", "levit.LeViT128S"),
            *("ghostnet.GhostNet_050", "resnet_family.RegNetY040", "cotnet.CotNet50", "mobilevit.MobileViT_XXS"),
            *("convnext.ConvNeXtTiny", "swin_transformer_v2.SwinTransformerV2Tiny_window8"),
        )
    },
    **{name: classifier(name) for name in ("resnet18", "seresnet18", "resnext50", "mobilenetv2")},
    "custom_unet": unet("custom_unet", use_batch_norm=True, num_layers=2),
    "satellite_unet": unet("satellite_unet", num_layers=2),
    "ResNetBackbone": hub("ResNetBackbone", IMAGES, block_type="basic_block", **RESNET),
    "DenseNetBackbone": hub("DenseNetBackbone", IMAGES, stackwise_num_repeats=[2, 2]),
    "ViTBackbone": hub(
        *("ViTBackbone", IMAGES),
        **{"image_shape": (64, 64, 3), "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16},
        mlp_dim=32,
    ),
    "MiTBackbone": hub(
        *("MiTBackbone", IMAGES),
        **{"layerwise_depths": [1, 1], "num_layers": 2, "layerwise_num_heads": [1, 2], "layerwise_sr_ratios": [4, 1]},
        **{"max_drop_path_rate": 0.1, "layerwise_patch_sizes": [7, 3], "layerwise_strides": [4, 2]},
        **{"image_shape": (64, 64, 3), "hidden_dims": [16, 32]},
    ),
    "BertBackbone": hub("BertBackbone", TOKENS, **TEXT),
    "GPT2Backbone": hub("GPT2Backbone", {name: TOKENS[name] for name in ("token_ids", "padding_mask")}, **TEXT),
}


def outputs(model, x):
    return [np.array(part) for part in tf.nest.flatten(model(x, training=False))]


def test_what_is_promised_of_any_model_holds(zoo_model):
    """Slots are listed; BatchNorm for itself and a copy change nothing; no kind is left that was replaced."""
    model, x = MODELS[zoo_model]()
    before, table = outputs(model, x), slots(model)
    normalization = [place for place in model._flatten_layers() if "Normalization" in type(place).__name__]
    assert len(table) == len({id(layer) for layer in normalization})
    kinds = [kind for kind in ("bn", "ln") if kind in set(table["kind"])]
    reached = table[table["can be swapped"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = recalibrate(model, x, batch_size=4)
        for kind in kinds:
            if (table[table["kind"] == kind]["can be swapped"]).all():
                other = "gn" if kind == "bn" else "bn"
                assert kind not in set(slots(swap(model, other, groups=8, replace=kind))["kind"]) - {"gn"}
    if "bn" in kinds:
        if (reached["kind"] == "bn").sum() == (table["kind"] == "bn").sum():
            for found, expected in zip(outputs(swap(model, "bn"), x), before, strict=True):
                np.testing.assert_array_equal(found, expected)
    else:
        for found, expected in zip(outputs(copied, x), before, strict=True):
            np.testing.assert_array_equal(found, expected)
    for found, expected in zip(outputs(model, x), before, strict=True):
        np.testing.assert_array_equal(found, expected)
