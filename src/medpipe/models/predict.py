"""A model's outputs for chosen rows of memory-mapped inputs, batch by batch."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt


def predict(
    model: keras.Model, inputs: Sequence[npt.NDArray], rows: npt.NDArray[np.int64], batch: int = 32
) -> dict[str, npt.NDArray[np.float32]]:
    """The model's outputs by name, (len(rows), ...) float32 each, of `inputs`, one array a model input.

    Every batch has the same size, the last one filled up with its last row: the backend then traces the model once.
    """
    parts: dict[str, list[npt.NDArray]] = {}
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        filled = np.pad(chosen, (0, batch - len(chosen)), mode="edge")
        x = [array[filled] for array in inputs]
        outputs = model.predict_on_batch(x if len(x) > 1 else x[0])
        named = outputs if isinstance(outputs, dict) else {"output": outputs}
        for name, values in named.items():
            parts.setdefault(name, []).append(np.asarray(values, np.float32)[: len(chosen)])
    return {name: np.concatenate(values) for name, values in parts.items()}
