"""Models of two classes as ONNX graphs that are written by hand: neither Keras nor a backend is imported."""

from io import BytesIO

import numpy as np
from declared import EIGHT_BIT
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from medpipe.models import ood

SIDE = 32
PIXELS = 1_000_000  # that the packages take; the app takes more
VARIANT = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
VARIANT |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
FEATURES = {"age": {"range": (0, 120), "bands": ()}, "sex": {"values": ("male", "female")}}
TABLE = {"task": "skin", "kind": "table", "features": FEATURES}
COLUMNS = ("age", "sex_male", "sex_female", "sex_unknown")
RULE = {"of": "mel", "threshold": 0.3, "refer": 0.6, "least": (0.2, 0.2)}


def picture(colour, size=(80, 60), kind="PNG"):
    """A file of one colour, (r, g, b)."""
    Image.new("RGB", size, colour).save(buffer := BytesIO(), kind)
    return buffer.getvalue()


RED, BLUE = picture((255, 0, 0)), picture((0, 0, 255))


def graph(nodes, inputs, outputs, constants):
    """An ONNX file; shapes by name."""

    def values(shapes):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in shapes.items()]

    held = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "graph", values(inputs), values(outputs), held)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def node(kind, ins, out, **attributes):
    return helper.make_node(kind, ins.split(), [out], **attributes)


def classifier(bias):
    """Of mel and nv: the redder the likelier mel, and the older. `bias` favours mel."""
    nodes = [
        node("IsNaN", "table", "unknown"),
        node("Where", "unknown zero table", "known"),
        node("MatMul", "known by_table", "one"),
        node("ReduceMean", "image axes", "embedding", keepdims=0),
        node("MatMul", "embedding by_image", "other"),
        node("Sum", "one other bias", "logits"),
        node("Softmax", "logits", "output"),
    ]
    constants = {
        "zero": np.float32(0),
        "axes": np.array([1, 2]),
        "by_table": np.float32([[0.02, 0], [0, 0], [0, 0], [0, 0]]),
        "by_image": np.float32([[0.01, 0], [0, 0], [0, 0.01]]),
        "bias": np.float32([bias, 0]),
    }
    shapes = {"table": [len(COLUMNS)], "image": [SIDE, SIDE, 3]}
    return graph(nodes, shapes, {"output": [2], "embedding": [3]}, constants)


def cascade():
    """The mean of red says whether there is a tumour, and red pixels where."""
    nodes = [
        node("ReduceMean", "image axes", "mean", keepdims=0),
        node("MatMul", "mean by_mean", "red"),
        node("Sub", "red two", "logit"),
        node("Sigmoid", "logit", "p"),
        node("MatMul", "image by_pixel", "bright"),
        node("Sub", "bright half", "centred"),
        node("Sigmoid", "centred", "mask"),
    ]
    constants = {
        "axes": np.array([1, 2]),
        "by_mean": np.float32([[0.05], [0], [0]]),
        "two": np.float32(2),
        "by_pixel": np.float32([[1], [0], [0]]),
        "half": np.float32(127),
    }
    return graph(nodes, {"image": [SIDE, SIDE, 3]}, {"p": [1], "mask": [SIDE, SIDE, 1]}, constants)


def known():
    """A detector that takes what is neither dark nor bright in all for known."""
    axes, means = np.float32([[1, 0, 0]]), np.float32([[255, 0, 0], [128, 128, 128]])
    of = {"variances": np.float32([1]), "rest": np.float32(1), "known": np.linspace(0, 100, 99, dtype=np.float32)}
    return ood.Detector(scale=np.float32([1, 1, 1]), means=means, axes=axes, **of)
