"""Heat maps by gradients: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) and Grad-CAM++ (Chattopadhay et al. 2018,
arXiv 1710.11063), of any classifier of this package on either backend.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from medpipe import backend
from medpipe.explain.cut import Tensor, cuts
from medpipe.explain.maps import Maps, enlarge, scale


def grad_cam(
    model: keras.Model, inputs: Sequence[npt.NDArray], classes: Sequence[int], layer: str | None = None
) -> Maps:
    """(n, h, w) float32 in [0, 1], at the size of the (largest) image that the model reads.

    A channel of the feature map weighs as much as its gradient's mean over all places.

    `inputs`: an array a model input, of n rows; `classes`: the number of the class to be explained, of each row. The
    gradient is that of the class's score before softmax or sigmoid: the logit, of the first of two classes under one
    sigmoid its negative. `layer` names the feature map, which by default is the last one before the pooling with at
    least cut.LEAST places a side. A fusion's map is that of its image's network through the fusion's head; that of a
    mean is the weighted mean of its members' maps, each through its own score. Raises InputError as `cut.cuts` does.
    """
    return _maps(model, inputs, classes, layer, _mean_gradient)


def grad_cam_plus_plus(
    model: keras.Model, inputs: Sequence[npt.NDArray], classes: Sequence[int], layer: str | None = None
) -> Maps:
    """As `grad_cam`, but places that raise the score count alone, and by what they take from a channel: several objects
    of one class, or one of several parts, all show.

    The score is exp(logit), as published; its factor is the same at all places and falls out. Made for maps that are
    nowhere negative, as behind a ReLU.
    """
    return _maps(model, inputs, classes, layer, _weighted_gradient)


def _maps(
    model: keras.Model,
    inputs: Sequence[npt.NDArray],
    classes: Sequence[int],
    layer: str | None,
    weigh: Callable[[Tensor, Tensor], Tensor],
) -> Maps:
    found = cuts(model, layer)
    size = max(tuple(inputs[cut.image].shape[1:3]) for cut in found)
    tensors = [ops.convert_to_tensor(np.asarray(values, np.float32)) for values in inputs]
    wanted = ops.one_hot(np.asarray(classes), model.output.shape[-1] if model.output.shape[-1] > 1 else 2)
    total = np.zeros((len(classes), *size), np.float32)
    for cut in found:

        def score(x: Tensor, cut=cut) -> Tensor:
            scores = cut.scores(x, tensors)
            if scores.shape[-1] == 1:
                scores = ops.concatenate([-scores, scores], axis=1)
            return ops.sum(scores * wanted)  # no row's score depends on another row's map

        # The layers are run one by one: to compile a gradient takes longer than this for all rows.
        x = cut.features(tensors)
        gradient = backend.gradient(score, x)
        x, gradient = ops.cast(x, "float32"), ops.cast(gradient, "float32")
        heat = ops.relu(ops.sum(weigh(x, gradient) * x, axis=-1))
        total += cut.weight * scale(enlarge(ops.convert_to_numpy(heat), size))
    return scale(total)


def _mean_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """(b, 1, 1, channels)."""
    return ops.mean(gradient, axis=(1, 2), keepdims=True)


def _weighted_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """(b, 1, 1, channels), by equation 19 of the paper: the derivatives of exp(logit) are powers of `gradient`."""
    below = 2 * gradient**2 + ops.sum(x, axis=(1, 2), keepdims=True) * gradient**3
    alpha = ops.where(below == 0, 0.0, gradient**2 / ops.where(below == 0, 1.0, below))
    return ops.sum(alpha * ops.relu(gradient), axis=(1, 2), keepdims=True)
