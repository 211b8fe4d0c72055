"""What a model of metadata looks at: SHAP values (Lundberg & Lee 2017, arXiv 1705.07874) of one class's probability."""

from collections.abc import Callable

import numpy as np
import pandas as pd

EXPLAINED, BACKGROUND, COALITIONS = 100, 50, 200  # rows, rows, subsets of features: cost is their product


def mean_shap(
    predict: Callable[[np.ndarray], np.ndarray],
    training: np.ndarray,
    rows: np.ndarray,
    features: list[str],
    seed: int,
) -> pd.Series:
    """Mean |SHAP| of each feature, in units of probability, largest first; by the kernel explainer.

    `predict`: a table (b, features) float32, NaN for a missing number, to one class's probability (b,). `training`
    and `rows`: tables of the background and of what to explain, of which a sample drawn by `seed` is taken.
    """
    import shap  # 1 s, which models of images need not wait

    rng = np.random.default_rng(seed)
    background, sample = (
        table[np.sort(rng.permutation(len(table))[:most])].astype(np.float64)
        for table, most in ((training, BACKGROUND), (rows, EXPLAINED))
    )
    # The permutation explainer would compile for 13 s first and call the model more often for smaller batches.
    explainer = shap.KernelExplainer(
        lambda table: np.asarray(predict(table.astype(np.float32)), np.float64), background, silent=True
    )
    np.random.seed(seed)  # shap draws from NumPy's global generator
    found = explainer.shap_values(sample, nsamples=COALITIONS, l1_reg=False, silent=True)  # (rows, features)
    importance = pd.Series(np.abs(found).mean(axis=0), index=[readable(name) for name in features])
    return importance.sort_values(ascending=False, kind="stable")


def readable(feature: str) -> str:
    """`localization_lower extremity` as `localization: lower extremity`."""
    return feature.replace("_", ": ", 1)
