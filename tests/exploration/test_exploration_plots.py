"""Plots of tables that are not as neat as the shipped tasks'."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medpipe.exploration.plots import plot_number, plot_values


def grey(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize(
    "values", [[np.nan] * 6, [3.0] * 6, [1, 2, 2, np.nan, 1e6, -4.5], [0.1, 0.2, 0.4, 0.1, 0.2, 0.3]]
)
def test_a_number_is_drawn_whatever_is_missing(values, tmp_path):
    train = pd.DataFrame({"label": ["cyst"] * 4 + ["tumour"] * 2, "dose (mGy)": values})
    plot_number(tmp_path / "a.png", "dose", train, "dose (mGy)", ["cyst", "none seen", "tumour"])
    assert grey(tmp_path / "a.png").shape[1] == 1200


def test_many_long_values_stay_in_the_picture(tmp_path):
    counts = {label: {f"hospital {i:03d}, " + "department " * 5: i for i in range(60)} for label in ("cyst", "tumour")}
    counts["none seen"] = dict.fromkeys(counts["cyst"], 0)
    plot_values(tmp_path / "a.png", "source", counts)
    image = grey(tmp_path / "a.png")
    assert image.shape[1] == 1200
    assert (image[:, :3] > 250).all()  # no label is cut at the left edge
    assert (image[-2:] > 250).all()
