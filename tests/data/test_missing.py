import numpy as np
import pandas as pd
import pytest

from medpipe.data.missing import is_missing


@pytest.mark.parametrize(
    "value",
    [
        None,
        np.nan,
        np.float32("nan"),
        pd.NA,
        pd.NaT,
        *("", " \t", "NA", "NaN", "nan", "null", "None", "unknown"),
        *("Unknown ", " N/A", "#N/A", "\u00a0na", "?", "-"),
    ],
)
def test_what_stands_for_not_known(value):
    assert is_missing(pd.Series([value, "x"], dtype=object)).tolist() == [True, False]


def test_what_does_not():
    known = ["0", 0, 0.0, False, "0.0", "no", "nano", "male", "na 5", "NAN-1", -1, np.inf]
    assert not is_missing(pd.Series(known, dtype=object)).any()


@pytest.mark.parametrize("dtype", ["string", "category", "Float64", "float32", "Int64", "string[pyarrow]", object])
def test_every_type_of_column(dtype):
    column = pd.Series([None, "5" if "str" in str(dtype) else 5], dtype=dtype)
    assert is_missing(column).tolist() == [True, False]
    assert is_missing(column[:0]).dtype == bool
