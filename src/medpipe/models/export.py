"""A Keras model as an ONNX graph in float32, whatever precision it was trained in.

The functional graph is walked and each layer becomes a few nodes: no backend is traced, so it takes well under a second
a model, on TensorFlow and JAX alike. Keras' own export traces TensorFlow and converts by tf2onnx: minutes for a deep
backbone, and constants of a graph turned into required inputs.

Keras has channels last, ONNX first: here every tensor of four axes is (batch, channels, height, width).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from medpipe.errors import InputError
from medpipe.models.export_layers import LAYERS

OPSET, IR = 20, 10  # the first with Gelu; what goes with it
LIMIT = 2**31  # bytes of a protocol buffer, below


def export(model: keras.Model) -> bytes:
    """The ONNX file of `model`. Its inputs are the model's, in their order and with their names, float32, images
    (b, h, w, 3); its outputs are float32 and bear the names of the model's dict, or `output`; b is free.

    Raises InputError that names the model and a layer or setting that is not provided for (export_layers), and for a
    model of 2 GiB or more.
    """
    graph = Graph(model.name)
    ins = [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, ["batch", *x.shape[1:]]) for x in model.inputs]
    named = model.output if isinstance(model.output, dict) else {"output": model.outputs[0]}
    place = {id(tensor): i for i, tensor in enumerate(model.outputs)}
    ends = graph.walk(model, [graph.to_first(x.name, len(x.shape)) for x in model.inputs])
    outs = []
    for name, tensor in named.items():
        end = graph.to_last(ends[place[id(tensor)]], len(tensor.shape))
        graph.add("Identity", [end], name=name)
        outs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *tensor.shape[1:]]))
    made = helper.make_model(
        helper.make_graph(graph.nodes, model.name, ins, outs, graph.constants),
        producer_name="medpipe",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    if (size := made.ByteSize()) >= LIMIT:
        raise InputError(f"{model.name}: {size} bytes are too many for ONNX, which holds less than {LIMIT}; fuse fewer")
    return made.SerializeToString()


class Graph:
    """What is added up to a graph: `nodes` and their constants, by the names of what they give."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def walk(self, model: keras.Model, inputs: Sequence[str]) -> list[str]:
        """Adds the model's layers, those of models in it too; gives the names of its outputs."""
        if isinstance(model, keras.Sequential):
            model = keras.Model(model.inputs, model.outputs)
        tensors = keras.tree.map_structure(lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype), model.input)
        names = dict(zip(map(id, keras.tree.flatten(tensors)), inputs, strict=True))
        kept = []  # or another tensor gets its id

        def call(layer: keras.Operation, *args: Any, **named: Any) -> Any:
            outputs = layer(*args, **named)  # for their shapes
            flat = [*keras.tree.flatten(args), *keras.tree.flatten(named)]
            read = [x for x in flat if isinstance(x, keras.KerasTensor)]
            if isinstance(layer, keras.Model):
                ends = self.walk(layer, [names[id(x)] for x in read])
            else:
                kind = type(layer).__name__
                if kind not in LAYERS:
                    raise InputError(
                        f"{self.name}: layer {layer.name!r} is a {kind}, which is not exported to ONNX; use another "
                        "one, or add it to medpipe.models.export_layers"
                    )
                of_all = [names[id(x)] if isinstance(x, keras.KerasTensor) else x for x in flat]
                ends = [LAYERS[kind](self, layer, of_all, outputs, *read)]
            kept.extend(found := keras.tree.flatten(outputs))
            names.update(zip(map(id, found), ends, strict=True))
            return outputs

        # The same layers, called again.
        again = keras.models.clone_model(model, tensors, clone_function=lambda layer: layer, call_function=call)
        return [names[id(x)] for x in again.outputs]

    def add(self, kind: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: npt.ArrayLike, kind: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def along(self, values: Any, rank: int) -> str:
        """A constant that broadcasts, as Keras lays it out, over a tensor of so many axes."""
        values = np.asarray(keras.ops.convert_to_numpy(values), np.float32)
        if rank == 4 and values.ndim:
            values = values.reshape((1,) * (4 - values.ndim) + values.shape).transpose(0, 3, 1, 2)
        return self.constant(values)

    def to_first(self, x: str, rank: int) -> str:
        return self.add("Transpose", [x], perm=(0, 3, 1, 2)) if rank == 4 else x

    def to_last(self, x: str, rank: int) -> str:
        return self.add("Transpose", [x], perm=(0, 2, 3, 1)) if rank == 4 else x

    def refuse(self, layer: keras.Operation, what: str) -> InputError:
        return InputError(f"{self.name}: layer {layer.name!r} ({type(layer).__name__}): {what} is not exported to ONNX")
