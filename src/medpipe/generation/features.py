"""The network whose features the measures compare. Its name stands beside every figure: another one makes another
figure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medpipe.errors import settings_of
from medpipe.models import backbone, embedding, weights
from medpipe.params import Backbone, FeatureNetwork

_BATCH = 32
_RANDOM = (32, 64, 128)  # filters of the random network's convolutions
_SEED = 0


@dataclass(frozen=True)
class Extractor:
    """- name: network, weights and the side that images are enlarged to, for reports."""

    name: str
    model: keras.Model
    side: int | None

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """(n, h, w, 3) in [0, 255] -> (n, d)."""
        found = []
        for start in range(0, len(images), _BATCH):
            batch = np.asarray(images[start : start + _BATCH], np.float32)
            count = len(batch)
            batch = np.pad(batch, ((0, _BATCH - count), (0, 0), (0, 0), (0, 0)), mode="edge")
            if self.side is not None:
                batch = ops.convert_to_numpy(ops.image.resize(batch, (self.side, self.side), "bilinear"))
            found.append(self.model.predict_on_batch(batch)[:count])
        return np.concatenate(found).astype(np.float64)


def build(settings: FeatureNetwork, pretrained: bool, side: int) -> Extractor:
    """The network that the settings name; where `pretrained` is false, convolutions that stay random, over images of
    `side` pixels: they tell phantoms apart, and nothing that they say holds beyond them.
    """
    if not pretrained:
        return Extractor(f"random convolutions (seed {_SEED})", _random(side), None)
    whole = Backbone(
        backbone=settings.backbone, options=settings.options, weights=settings.weights, normalise="backbone",
        unfreeze=0, freeze_norm=True, pooling="average", head=(), batch_norm=False, dropout=0.0,
    )  # fmt: skip
    with settings_of("features"):
        model = backbone.build(whole, (settings.side, settings.side, 3), 2, {})
    source = weights.lineage(settings.weights).get("sha256")
    said = f"weights with SHA-256 {source[:8]}" if source else "ImageNet"
    return Extractor(f"{settings.backbone} ({said}) at {settings.side} px", embedding.extractor(model), settings.side)


def _random(side: int) -> keras.Model:
    inputs = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    for place, filters in enumerate(_RANDOM):
        start = keras.initializers.HeNormal(seed=_SEED + place)
        x = layers.Conv2D(filters, 3, strides=2, activation="relu", kernel_initializer=start)(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def classifier(
    features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """From features to class probabilities, by a logistic regression on those of real images, standardised."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, labels).predict_proba
