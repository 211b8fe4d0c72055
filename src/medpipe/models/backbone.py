"""Classifiers on the backbones of keras.applications, each with the preprocessing that it was trained with."""

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import applications as apps
from keras import layers

from medpipe.errors import SettingError
from medpipe.models import weights
from medpipe.models.embedding import EMBEDDING, MOMENTUM
from medpipe.params import Backbone

# Its class, and what brings pixels in [0, 255] to its range; where the class does so itself, that passes them through.
BACKBONES: dict[str, tuple[Callable[..., keras.Model], Callable[[Any], Any]]] = {
    "ConvNeXtBase": (apps.ConvNeXtBase, apps.convnext.preprocess_input),
    "ConvNeXtLarge": (apps.ConvNeXtLarge, apps.convnext.preprocess_input),
    "ConvNeXtSmall": (apps.ConvNeXtSmall, apps.convnext.preprocess_input),
    "ConvNeXtTiny": (apps.ConvNeXtTiny, apps.convnext.preprocess_input),
    "ConvNeXtXLarge": (apps.ConvNeXtXLarge, apps.convnext.preprocess_input),
    "DenseNet121": (apps.DenseNet121, apps.densenet.preprocess_input),
    "DenseNet169": (apps.DenseNet169, apps.densenet.preprocess_input),
    "DenseNet201": (apps.DenseNet201, apps.densenet.preprocess_input),
    "EfficientNetB0": (apps.EfficientNetB0, apps.efficientnet.preprocess_input),
    "EfficientNetB1": (apps.EfficientNetB1, apps.efficientnet.preprocess_input),
    "EfficientNetB2": (apps.EfficientNetB2, apps.efficientnet.preprocess_input),
    "EfficientNetB3": (apps.EfficientNetB3, apps.efficientnet.preprocess_input),
    "EfficientNetB4": (apps.EfficientNetB4, apps.efficientnet.preprocess_input),
    "EfficientNetB5": (apps.EfficientNetB5, apps.efficientnet.preprocess_input),
    "EfficientNetB6": (apps.EfficientNetB6, apps.efficientnet.preprocess_input),
    "EfficientNetB7": (apps.EfficientNetB7, apps.efficientnet.preprocess_input),
    "EfficientNetV2B0": (apps.EfficientNetV2B0, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2B1": (apps.EfficientNetV2B1, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2B2": (apps.EfficientNetV2B2, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2B3": (apps.EfficientNetV2B3, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2L": (apps.EfficientNetV2L, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2M": (apps.EfficientNetV2M, apps.efficientnet_v2.preprocess_input),
    "EfficientNetV2S": (apps.EfficientNetV2S, apps.efficientnet_v2.preprocess_input),
    "InceptionResNetV2": (apps.InceptionResNetV2, apps.inception_resnet_v2.preprocess_input),
    "InceptionV3": (apps.InceptionV3, apps.inception_v3.preprocess_input),
    "MobileNet": (apps.MobileNet, apps.mobilenet.preprocess_input),
    "MobileNetV2": (apps.MobileNetV2, apps.mobilenet_v2.preprocess_input),
    "MobileNetV3Large": (apps.MobileNetV3Large, apps.mobilenet_v3.preprocess_input),
    "MobileNetV3Small": (apps.MobileNetV3Small, apps.mobilenet_v3.preprocess_input),
    "NASNetLarge": (apps.NASNetLarge, apps.nasnet.preprocess_input),
    "NASNetMobile": (apps.NASNetMobile, apps.nasnet.preprocess_input),
    "ResNet101": (apps.ResNet101, apps.resnet.preprocess_input),
    "ResNet101V2": (apps.ResNet101V2, apps.resnet_v2.preprocess_input),
    "ResNet152": (apps.ResNet152, apps.resnet.preprocess_input),
    "ResNet152V2": (apps.ResNet152V2, apps.resnet_v2.preprocess_input),
    "ResNet50": (apps.ResNet50, apps.resnet.preprocess_input),
    "ResNet50V2": (apps.ResNet50V2, apps.resnet_v2.preprocess_input),
    "VGG16": (apps.VGG16, apps.vgg16.preprocess_input),
    "VGG19": (apps.VGG19, apps.vgg19.preprocess_input),
    "Xception": (apps.Xception, apps.xception.preprocess_input),
}

# Of its images' channels, red, green and blue, in [0, 255]: what torchvision and Keras normalise by.
IMAGENET_MEAN, IMAGENET_STD = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])


def build(network: Backbone, input_shape: tuple[int, ...], classes: int, stats: dict[str, Any]) -> keras.Model:
    """(b, h, w, 3) float32 in [0, 255] -> (b, classes) probabilities.

    One flat model: backbone, pooling (`embedding`), head. Every layer trains: `embedding.unfreeze_layers` chooses.
    `stats["channels"]` is read under `normalise: data`: mean and std of each channel, of pixels in [0, 255].
    Raises SettingError for an unknown backbone or option, an image too small for it, and weights that cannot be had.
    """
    inputs = keras.Input(input_shape, name="image")
    pixels = _as_imagenet(stats["channels"])(inputs) if network.normalise == "data" else inputs
    x = _backbone(network, pixels, inputs).output
    pool = layers.GlobalAveragePooling2D if network.pooling == "average" else layers.Flatten
    x = pool(name=EMBEDDING)(x)
    for units in network.head:
        if network.batch_norm:
            x = layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = layers.Dense(units, activation="relu")(x)
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
    if not network.head and network.dropout:
        x = layers.Dropout(network.dropout)(x)
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="backbone")


def _as_imagenet(channels: dict[str, list[float]]) -> keras.Layer:
    """Gives each channel, of this mean and deviation, those of ImageNet's images.

    The backbone's own preprocessing then does what standardising by the data's own figures does to those that were
    pretrained on standardised pixels, and the like for the others.
    """
    scale = IMAGENET_STD / np.array(channels["std"])
    offset = IMAGENET_MEAN - scale * np.array(channels["mean"])
    return layers.Rescaling(scale.tolist(), offset.tolist(), name="as_imagenet")


def _backbone(network: Backbone, pixels: keras.KerasTensor, inputs: keras.KerasTensor) -> keras.Model:
    if network.backbone not in BACKBONES:
        raise SettingError(f"network.backbone: {network.backbone!r} is none of {', '.join(BACKBONES)}")
    create, preprocess = BACKBONES[network.backbone]
    pretrained = network.weights == "imagenet"
    try:
        model = create(
            include_top=False,
            weights="imagenet" if pretrained else None,
            input_tensor=preprocess(pixels),
            input_shape=inputs.shape[1:],
            **network.options,
        )
    # Keras raises a plain Exception where a download fails.
    except Exception as error:
        failed = re.search(r"URL fetch failure on \S*/(\S+):", str(error))
        if failed or isinstance(error, OSError):
            file = failed[1] if failed else "the file that Keras names"
            raise SettingError(
                f"network.weights: imagenet's weights of {network.backbone} are not in Keras' cache and could not be "
                f"downloaded. Build this model once on a machine with network access and copy {file} from its "
                "~/.keras/models into KERAS_HOME/models here (KERAS_HOME is ~/.keras where it is not set); or set "
                "network.weights to the path of a .weights.h5 or to another run's model"
            ) from error
        if isinstance(error, (TypeError, ValueError)):
            raise SettingError(f"network.backbone: {network.backbone}: {error}") from error
        raise
    if network.weights is not None and not pretrained:
        weights.load(model, network.weights)
    if not pretrained:
        _correct_normalization(model)
    return model


def _correct_normalization(model: keras.Model) -> None:
    """EfficientNetB0 to B7 standardise pixels by ImageNet's figures, in a layer whose weights only a file sets.

    Without a file it does nothing, and their files hold the deviation where the layer takes a variance: Keras makes up
    for that with one more scaling, but only under weights="imagenet". From a path, the same file would see pixels of
    half the contrast that it was trained with.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Normalization) and layer.weights:
            _, _, count = layer.get_weights()
            layer.set_weights([IMAGENET_MEAN / 255, (IMAGENET_STD / 255) ** 2, count])
            layer.finalize_state()
