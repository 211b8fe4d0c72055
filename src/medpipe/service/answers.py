"""The model's answers as JSON: one object a row, in the request's order."""

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data import nifti
from medpipe.models.ood import EMBEDDING
from medpipe.service.rows import Rows
from medpipe.service.served import Served


def combined(rows: Rows, served: Served, answers: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each row what the model said, or what is wrong with it; `answers` are those of the sound rows.

    Bytes are data URIs of PNGs, or of volumes (.nii.gz). A row that is wrong has `error` and null for all else that the
    model would say.
    """
    said = iter(answers.to_dict("records"))
    found = []
    for number, error in enumerate(rows.errors):
        values = next(said) if error is None else {"error": error}
        told = {name: plain(values.get(name)) for name in served.outputs}
        found.append({"row": number, **told, "error": plain(values["error"]), **served.about})
    return found


def embeddings(rows: Rows, answers: pd.DataFrame) -> list[npt.NDArray[np.float32] | None]:
    """Of each row its embedding (d,), as the `answers` to the sound rows have it; None where there is none."""
    found = iter(answers.get(EMBEDDING, [None] * len(answers)))
    every = (next(found) if error is None else None for error in rows.errors)
    return [value if isinstance(value, np.ndarray) else None for value in every]


def plain(value: Any) -> Any:
    """A value of an answer as JSON has it; None for NaN."""
    if isinstance(value, bytes):
        kind = "application/gzip" if value.startswith(nifti.GZIP) else "image/png"
        return f"data:{kind};base64," + base64.b64encode(value).decode()
    if hasattr(value, "item"):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
