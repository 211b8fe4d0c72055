"""Small settings of each architecture and data that fit them, for the tests of models on either backend."""

from pathlib import Path

import numpy as np

from medpipe import params

PUBLISHED = params.load(Path(__file__).parents[2]).models
ARCHITECTURES = ("mlp", "backbone", "convnet", "resnet", "resunet")
STATS = {
    "columns": ["age", "sex_male"],
    "fill": [50.0, 0.0],
    "mean": [48.0, 0.5],
    "std": [16.0, 0.5],
    "channels": {"mean": [195.0, 138.0, 145.0], "std": [35.0, 40.0, 45.0]},
}
SIDE = 32


def change(recipe: params.Recipe, **network: object) -> params.Recipe:
    """The recipe with other settings of its network."""
    return recipe.model_copy(update={"network": recipe.network.model_copy(update=network)})


MOBILENET = change(PUBLISHED["chest-mobilenetv2"], options={"alpha": 0.35}, weights=None).network

SMALL = {
    "mlp": change(PUBLISHED["skin-tabular"], dropout=0.1),
    "backbone": change(PUBLISHED["chest-mobilenetv2"], options={"alpha": 0.35}, weights=None, head=(8,), dropout=0.1),
    "convnet": change(PUBLISHED["chest-convnet"], filters=(4, 8), units=8),
    "resnet": PUBLISHED["brain-classifier"],
    "resunet": PUBLISHED["brain-resunet"],
}


def pixels(count: int = 3, side: int = SIDE) -> np.ndarray:
    """(count, side, side, 3) float32, whole numbers in [0, 255]."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype("float32")


def batch(architecture: str) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets) of three samples of three classes."""
    inputs = np.array([[70, 1], [np.nan, 0], [0, 1]], "float32") if architecture == "mlp" else pixels()
    if architecture == "resnet":
        return inputs, np.array([[0], [1], [1]], "float32")
    if architecture == "resunet":
        return inputs, (np.random.default_rng(1).random((3, SIDE, SIDE, 1)) < 0.2).astype("float32")
    return inputs, np.eye(3, dtype="float32")[[0, 1, 1]]
