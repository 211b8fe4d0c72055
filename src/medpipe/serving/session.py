"""A model's ONNX file on ONNX Runtime."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from medpipe.errors import InputError

THREADS = min(os.cpu_count() or 1, 8)  # each takes the memory of an image and of a run


class Session:
    """What `models.predict` calls in place of a Keras model: on the CPU, on as many threads as there are cores.

    Images go through alone, THREADS of them at once: what a layer gives of one stays in the processor's cache, and the
    runtime's arena, which keeps what its runs took, does not grow with the batch. Nor does an answer depend on it.

    Raises InputError where `graph`, a file or its bytes, is none.
    """

    def __init__(self, graph: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # takes the cores that others need
        try:
            self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own, which have no common base
            told = str(error).partition("\n")[0][:200]
            named = graph if isinstance(graph, Path) else "the exported model"
            raise InputError(f"{named}: damaged or of another version ({told}); get it again") from error
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.pool = ThreadPoolExecutor(THREADS)

    def predict_on_batch(self, x: npt.NDArray | list[npt.NDArray]) -> dict[str, npt.NDArray[np.float32]]:
        arrays = x if isinstance(x, list) else [x]
        size = 1 if any(array.ndim == 4 for array in arrays) else len(arrays[0])
        parts = [[array[i : i + size] for array in arrays] for i in range(0, len(arrays[0]), size)]
        values = zip(*self.pool.map(self._run, parts), strict=True)
        return dict(zip(self.outputs, map(np.concatenate, values), strict=True))

    def _run(self, arrays: list[npt.NDArray]) -> list[npt.NDArray[np.float32]]:
        fed = {name: array.astype(np.float32) for name, array in zip(self.inputs, arrays, strict=True)}
        return self.session.run(None, fed)
