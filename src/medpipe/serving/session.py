"""A model's ONNX file on ONNX Runtime."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from medpipe.errors import InputError


class Session:
    """What `models.predict` calls in place of a Keras model: on the CPU, on as many threads as the runtime chooses.

    Raises InputError where `graph`, a file or its bytes, is none.
    """

    def __init__(self, graph: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False  # which keeps what the largest batch of any size took
        try:
            self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own, which have no common base
            told = str(error).partition("\n")[0][:200]
            named = graph if isinstance(graph, Path) else "the exported model"
            raise InputError(f"{named}: damaged or of another version ({told}); get it again") from error
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def predict_on_batch(self, x: npt.NDArray | list[npt.NDArray]) -> dict[str, npt.NDArray[np.float32]]:
        arrays = x if isinstance(x, list) else [x]
        fed = {name: array.astype(np.float32) for name, array in zip(self.inputs, arrays, strict=True)}
        return dict(zip(self.outputs, self.session.run(None, fed), strict=True))
