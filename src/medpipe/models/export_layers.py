"""What each of Keras' layers is in an ONNX graph; `export` says how its tensors lie.

A function here adds a layer's nodes to the graph. It is given the layer, the names of what the layer was called with
(constants as they are), the Keras tensor that it gave and those that it read, whose shapes have channels last. It
returns the name of what it gives.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor

if TYPE_CHECKING:
    from medpipe.models.export import Graph


def _activate(g: "Graph", layer: Any, x: str, rank: int) -> str:
    kind = layer.activation.__name__
    match kind:
        case "linear":
            return x
        case "relu6":
            return g.add("Clip", [x, g.constant(0), g.constant(6)])
        case "silu":
            return g.add("Mul", [x, g.add("Sigmoid", [x])])
        case "softmax":
            return g.add("Softmax", [x], axis=1 if rank == 4 else -1)
        case "hard_sigmoid":
            return g.add("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        case "relu" | "sigmoid" | "tanh" | "gelu" | "hard_silu" | "elu" | "selu":
            return g.add("HardSwish" if kind == "hard_silu" else kind.capitalize(), [x])
    raise g.refuse(layer, f"activation {kind}")


def _pads(layer: Any, shape: Sequence[int], kernel: Sequence[int], dilation: Sequence[int] = (1, 1)) -> list[int]:
    """Top, left, bottom, right; of `same`, the odd pixel comes behind (TensorFlow's way)."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    found = []
    for size, k, stride, step in zip(shape[1:3], kernel, layer.strides, dilation, strict=True):
        whole = max((-(-size // stride) - 1) * stride + (k - 1) * step + 1 - size, 0)
        found.append((whole // 2, whole - whole // 2))
    return [found[0][0], found[1][0], found[0][1], found[1][1]]


def _convolve(g: "Graph", layer: Any, x: str, shape: Sequence[int], kernel: npt.NDArray, groups: int) -> str:
    """With a kernel (out, in of a group, h, w)."""
    sides, dilation = kernel.shape[2:], layer.dilation_rate
    attributes = {"strides": layer.strides, "dilations": dilation, "group": groups}
    return g.add("Conv", [x, g.constant(kernel)], pads=_pads(layer, shape, sides, dilation), **attributes)


def _finish(g: "Graph", layer: Any, x: str, rank: int) -> str:
    """Bias and activation."""
    if layer.use_bias:
        x = g.add("Add", [x, g.along(layer.bias, rank)])
    return _activate(g, layer, x, rank)


def _conv(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    kernel = keras.ops.convert_to_numpy(layer.kernel).transpose(3, 2, 0, 1)
    return _finish(g, layer, _convolve(g, layer, args[0], x.shape, kernel, layer.groups), 4)


def _by_channel(kernel: Any) -> npt.NDArray:
    kernel = keras.ops.convert_to_numpy(kernel)  # (h, w, channels, multiplier)
    return kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])


def _depthwise(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    return _finish(g, layer, _convolve(g, layer, args[0], x.shape, _by_channel(layer.kernel), x.shape[-1]), 4)


def _separable(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    each = _convolve(g, layer, args[0], x.shape, _by_channel(layer.depthwise_kernel), x.shape[-1])
    points = g.constant(keras.ops.convert_to_numpy(layer.pointwise_kernel).transpose(3, 2, 0, 1))
    return _finish(g, layer, g.add("Conv", [each, points]), 4)


def _dense(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    kernel, rank = keras.ops.convert_to_numpy(layer.kernel), len(x.shape)
    made = g.add("Conv", [args[0], g.constant(kernel.T[..., None, None])]) if rank == 4 else None
    return _finish(g, layer, made or g.add("MatMul", [args[0], g.constant(kernel)]), rank)


def _batch_norm(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    if layer.axis not in (-1, len(x.shape) - 1):
        raise g.refuse(layer, f"axis {layer.axis}")
    mean, variance = (keras.ops.convert_to_numpy(values) for values in (layer.moving_mean, layer.moving_variance))
    scale = keras.ops.convert_to_numpy(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = keras.ops.convert_to_numpy(layer.beta) if layer.center else np.zeros_like(mean)
    constants = [g.constant(values) for values in (scale, shift, mean, variance)]
    return g.add("BatchNormalization", [args[0], *constants], epsilon=layer.epsilon)


def _layer_norm(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    rank = len(x.shape)
    axes = [axis % rank for axis in (layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis])]
    over = g.constant([(0, 2, 3, 1)[axis] if rank == 4 else axis for axis in axes], np.int64)
    centred = g.add("Sub", [args[0], g.add("ReduceMean", [args[0], over])])
    variance = g.add("ReduceMean", [g.add("Mul", [centred, centred]), over])
    made = g.add("Div", [centred, g.add("Sqrt", [g.add("Add", [variance, g.constant(layer.epsilon)])])])
    if layer.scale:
        made = g.add("Mul", [made, g.along(layer.gamma, rank)])
    return g.add("Add", [made, g.along(layer.beta, rank)]) if layer.center else made


def _normalise(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    mean, variance = (keras.ops.convert_to_numpy(values) for values in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    centred = g.add("Sub", [args[0], g.along(mean, len(x.shape))])
    return g.add("Div", [centred, g.along(deviation, len(x.shape))])


def _rescale(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    rank = len(x.shape)
    return g.add("Add", [g.add("Mul", [args[0], g.along(layer.scale, rank)]), g.along(layer.offset, rank)])


def _relu(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    if layer.threshold:
        raise g.refuse(layer, f"threshold {layer.threshold}")
    if layer.negative_slope:
        raise g.refuse(layer, f"slope {layer.negative_slope}")
    if layer.max_value is None:
        return g.add("Relu", [args[0]])
    return g.add("Clip", [args[0], g.constant(0), g.constant(layer.max_value)])  # which the runtime fuses


def _pool(kind: str, **attributes: Any) -> Callable[..., str]:
    def pool(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
        settings = {
            "kernel_shape": layer.pool_size,
            "strides": layer.strides,
            "pads": _pads(layer, x.shape, layer.pool_size),
        }
        return g.add(kind, [args[0]], **settings, **attributes)

    return pool


def _global(kind: str) -> Callable[..., str]:
    def pool(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
        made = g.add(kind, [args[0]])
        return made if layer.keepdims else g.add("Flatten", [made])

    return pool


def _pad(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    (top, bottom), (left, right) = layer.padding
    return g.add("Pad", [args[0], g.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)])


def _crop(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    (top, bottom), (left, right) = layer.cropping
    ends = [x.shape[1] - bottom, x.shape[2] - right]
    return g.add("Slice", [args[0], *(g.constant(values, np.int64) for values in ([top, left], ends, [2, 3]))])


def _upsample(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    if layer.interpolation != "nearest":
        raise g.refuse(layer, f"interpolation {layer.interpolation}")
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g.add("Resize", [args[0], "", g.constant([1, 1, *layer.size])], **how)


def _reshape(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    shape = g.constant([0, *output.shape[1:]], np.int64)  # 0: as it is
    return g.to_first(g.add("Reshape", [g.to_last(args[0], len(x.shape)), shape]), len(output.shape))


def _concatenate(g: "Graph", layer: Any, args: list, output: KerasTensor, *xs: KerasTensor) -> str:
    rank = len(output.shape)
    axis = layer.axis % rank
    return g.add("Concat", args, axis=(0, 2, 3, 1)[axis] if rank == 4 else axis)


def _elementwise(kind: str) -> Callable[..., str]:
    def combine(g: "Graph", layer: Any, args: list, output: KerasTensor, *xs: KerasTensor) -> str:
        first, *others = (x if isinstance(x, str) else g.along(x, len(output.shape)) for x in args)
        for other in others:
            first = g.add(kind, [first, other])
        return first

    return combine


def _where(g: "Graph", layer: Any, args: list, output: KerasTensor, *xs: KerasTensor) -> str:
    return g.add("Where", [x if isinstance(x, str) else g.along(x, len(output.shape)) for x in args])


def _scaled_sum(g: "Graph", layer: Any, args: list, output: KerasTensor, *xs: KerasTensor) -> str:
    return g.add("Add", [args[0], g.add("Mul", [args[1], g.constant(layer.scale)])])


def _same(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    return args[0]


def _item(g: "Graph", layer: Any, args: list, output: KerasTensor, x: KerasTensor) -> str:
    if len(x.shape) != 4 or args[1:-1] != [...] or not isinstance(args[-1], int):
        raise g.refuse(layer, f"item {args[1:]}")
    return g.add("Gather", [args[0], g.constant(args[-1], np.int64)], axis=1)


def _stack(g: "Graph", layer: Any, args: list, output: KerasTensor, *xs: KerasTensor) -> str:
    if len(output.shape) != 4 or layer.axis not in (-1, 3):
        raise g.refuse(layer, f"axis {layer.axis}")
    axis = g.constant([1], np.int64)
    return g.add("Concat", [g.add("Unsqueeze", [x, axis]) for x in args], axis=1)


# By the name of the class of a layer, or of an operation of keras.ops, which stands in a functional graph as one.
LAYERS: dict[str, Callable[..., str]] = {
    "Activation": lambda g, layer, args, output, x: _activate(g, layer, args[0], len(x.shape)),
    "Add": _elementwise("Add"),
    "AveragePooling2D": _pool("AveragePool", count_include_pad=0),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Cropping2D": _crop,
    "CustomScaleLayer": _scaled_sum,  # InceptionResNetV2
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": _reshape,
    "GetItem": _item,
    "GlobalAveragePooling2D": _global("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global("GlobalMaxPool"),
    "Isnan": lambda g, layer, args, output, x: g.add("IsNaN", args),
    "LayerNormalization": _layer_norm,
    "LayerScale": lambda g, layer, args, output, x: g.add("Mul", [args[0], g.along(layer.gamma, len(x.shape))]),
    "MaxPooling2D": _pool("MaxPool"),
    "Multiply": _elementwise("Mul"),
    "Normalization": _normalise,
    "ReLU": _relu,
    "Rescaling": _rescale,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Stack": _stack,
    "StochasticDepth": _same,  # ConvNeXt
    "Subtract": _elementwise("Sub"),
    "TrueDivide": _elementwise("Div"),
    "UpSampling2D": _upsample,
    "Where": _where,
    "ZeroPadding2D": _pad,
}
