"""The model as it is served: its ONNX file, held against what the model itself says."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from medpipe.errors import InputError
from medpipe.models.export import export
from medpipe.models.ood import EMBEDDING
from medpipe.models.predict import predict
from medpipe.serving.session import Session

TOLERANCE = 1e-4  # of a probability: two libraries' kernels round otherwise
CHECKED = 32  # rows


def exported(
    name: str,
    model: keras.Model,
    inputs: Sequence[npt.NDArray],
    rows: npt.NDArray[np.int64],
    flips: Sequence[str],
) -> bytes:
    """The ONNX file of `model`, whose `inputs` have the `rows`.

    Raises InputError where the file gives, of the first rows, a probability that differs by more than TOLERANCE or is
    not a number.
    """
    graph, rows = export(model), rows[:CHECKED]
    if len(rows):
        outputs = predict(model, inputs, rows, CHECKED, flips)
        served = predict(Session(graph), inputs, rows, len(rows), flips)
        for key in outputs.keys() - {EMBEDDING}:
            apart = float(np.abs(served[key] - outputs[key]).max())
            if not apart <= TOLERANCE:  # NaN is no agreement
                raise InputError(
                    f"{name}: on ONNX Runtime the model's {key} differs by {apart:.2g}, at most {TOLERANCE:g} are "
                    "allowed; it is not delivered. Does one of its layers grow without bound? Else report it"
                )
    return graph
