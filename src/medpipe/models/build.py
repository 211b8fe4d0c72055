"""From a model's settings to the model."""

from typing import Any

import keras

from medpipe.params import BackboneRecipe, ConvnetRecipe, MlpRecipe, Recipe, ResnetRecipe, ResunetRecipe


def build(recipe: Recipe, input_shape: tuple[int, ...], classes: int, stats: dict[str, Any]) -> keras.Model:
    """The recipe's functional model, not compiled, under the dtype policy in force.

    `input_shape` is (h, w, 3), read as float32 in [0, 255], or (features,); `classes` are those of images, of `resunet`
    those of pixels, background among them. `stats` says how to impute and scale
    features, and under `normalise: data` has the mean and deviation of an image's channels. Returns probabilities in
    float32: (b, classes); of `resnet` (b, 1); of `resunet` (b, h, w, classes), or (b, h, w, 1) of two. Built of Keras'
    own layers, so that a saved one loads without this package. Raises InputError for settings that do not fit.
    """
    # Imported where they are used: a stage then depends on its own architecture alone.
    match recipe:
        case MlpRecipe():
            from medpipe.models import mlp

            return mlp.build(recipe.network, input_shape, classes, stats)
        case BackboneRecipe():
            from medpipe.models import backbone

            return backbone.build(recipe.network, input_shape, classes, stats)
        case ConvnetRecipe():
            from medpipe.models import convnet

            return convnet.build(recipe.network, input_shape, classes)
        case ResnetRecipe():
            from medpipe.models import resnet

            return resnet.build(recipe.network, input_shape)
        case ResunetRecipe():
            from medpipe.models import resunet

            return resunet.build(input_shape, classes)
