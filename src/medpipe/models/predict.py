"""A model's outputs for chosen rows of memory-mapped inputs, batch by batch."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medpipe.errors import InputError

BATCH = 32
AXES = {"vertical": 1, "horizontal": 2}  # of (batch, height, width, channels), which a flip turns round

Outputs = dict[str, npt.NDArray]
Reduce = Callable[[Outputs, npt.NDArray[np.int64]], Outputs]  # of a batch's outputs, and its row numbers


def require_finite(what: str, values: npt.NDArray) -> npt.NDArray:
    """`values` (n, ...). Raises InputError that names `what` they are and a row where one is NaN or infinite: from
    there on each comparison with it would be false, and decide something.
    """
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        raise InputError(
            f"{what}: not a number in {wrong.sum()} of {len(wrong)} rows, first in row {wrong.argmax()}; "
            "look at the model's weights and inputs, and train it again"
        )
    return values


def finite(what: str, reduce: Reduce | None = None) -> Reduce:
    """A `reduce` that asks `require_finite` of each batch's outputs first: a mask of NaN would come out as empty."""

    def keep(outputs: Outputs, rows: npt.NDArray[np.int64]) -> Outputs:
        for name, values in outputs.items():
            require_finite(f"{what}: {name} of rows {rows[0]} to {rows[-1]}", values)
        return outputs if reduce is None else reduce(outputs, rows)

    return keep


class Model(Protocol):
    """A Keras model, or what runs one that was exported (`serving.session`)."""

    def predict_on_batch(self, x: Any) -> Any:
        """Of an array, or a list of several, to an array, or several by name."""


def predict(
    model: Model,
    inputs: Sequence[npt.NDArray],
    rows: npt.NDArray[np.int64],
    batch: int = BATCH,
    flips: Sequence[str] = (),
    reduce: Reduce | None = None,
) -> Outputs:
    """The model's outputs by name, (len(rows), ...) float32 each, of `inputs`, one array a model input.

    With `flips`, names of AXES, they are the mean over the images as they are and every combination of these flips:
    2 or 4 passes. A mask is turned back before; a table stays as it is. Every batch has the same size, the last one
    filled up with its last row: the backend then traces the model once.

    `reduce` turns each batch's outputs into what is kept of them, a row each: masks of all rows would fill the memory.
    """
    axes = [AXES[name] for name in flips]
    views = [view for count in range(len(axes) + 1) for view in combinations(axes, count)]
    parts: list[Outputs] = []
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        filled = np.pad(chosen, (0, batch - len(chosen)), mode="edge")
        x = [array[filled] for array in inputs]
        seen = [_view(model, x, view) for view in views]
        outputs = {
            name: (values if len(views) == 1 else np.mean([one[name] for one in seen], axis=0))[: len(chosen)]
            for name, values in seen[0].items()
        }
        parts.append(outputs if reduce is None else reduce(outputs, chosen))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _view(model: Model, x: list[npt.NDArray], axes: tuple[int, ...]) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs for a batch whose images are flipped along `axes`, masks flipped back."""
    turned = [_flip(values, axes) for values in x]
    outputs = model.predict_on_batch(turned if len(turned) > 1 else turned[0])
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: _flip(np.asarray(values, np.float32), axes) for name, values in named.items()}


def _flip(values: npt.NDArray, axes: tuple[int, ...]) -> npt.NDArray:
    """What has height and width, flipped; probabilities and tables have none."""
    return np.flip(values, axes) if values.ndim == 4 else values
