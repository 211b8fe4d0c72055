"""An external test set beside the internal one: what the model loses, or wins, at another place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medpipe.evaluation.intervals import Estimates, separate_difference
from medpipe.evaluation.metrics import key, mean_of_present

# Averages over classes, by what they average.
AVERAGED = {
    "balanced_accuracy": "recall",
    "macro_f1": "f1",
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
}
CLASSES = ("accuracy", *AVERAGED)
OF_A_CLASS = ("recall", "f1", "roc_auc")


def shift(
    internal: Estimates, external: Estimates, metrics: Sequence[str], classes: Sequence[str], confidence: float
) -> dict[str, Any]:
    """{classes, metrics, per_class}; each metric {internal, external, difference, low, high} of external - internal.

    `classes`: of a classifier, none of masks. Averages are over those that both sets have, or they would not be
    comparable. Recall and ROC-AUC do not hang on how frequent a class is; accuracy, F1 and average precision do.
    Rows, groups and resamples of the two sets are apart, so differences are unpaired.
    """
    both = (internal, external)
    shared = [name for name in classes if all(np.isfinite(e.values[key("recall", name)]) for e in both)]
    if shared:
        internal, external = (_over(e, shared) for e in both)

    def beside(metric: str) -> dict[str, Any]:
        values = {"internal": internal.values[metric], "external": external.values[metric]}
        return values | separate_difference(external, internal, metric, confidence, together=False)

    return {
        "classes": shared,
        "metrics": {metric: beside(metric) for metric in metrics},
        "per_class": {name: {metric: beside(key(metric, name)) for metric in OF_A_CLASS} for name in shared},
    }


def _over(e: Estimates, classes: Sequence[str]) -> Estimates:
    """The same with averages over these classes alone."""
    values, draws, scarcest = {}, {}, {}
    for metric, part in AVERAGED.items():
        names = [key(part, name) for name in classes]
        values[metric] = float(mean_of_present(np.array([[e.values[name] for name in names]]))[0])
        draws[metric] = mean_of_present(np.stack([e.draws[name] for name in names], axis=1))
        scarcest[metric] = min((e.scarcest[name] for name in names), key=lambda held: held[1])
    return replace(e, values=e.values | values, draws=e.draws | draws, scarcest=e.scarcest | scarcest)
