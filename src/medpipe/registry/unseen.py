"""A champion of other data on the test rows of today: those of lesions or patients that it has not seen."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation.challenge import Contender
from medpipe.params import Declaration

if TYPE_CHECKING:
    from mlflow import MlflowClient


def on_unseen_rows(
    client: "MlflowClient",
    model_id: str,
    old: Contender,
    seen: pd.DataFrame,
    task: str,
    declared: Declaration,
    data: Path,
    seed: int,
) -> Contender:
    """`old`, whose logged model is `model_id`, with its table of the test rows in folder `data` that it has not seen.

    `seen`: the rows of its own split; those of its training and validation sets, and others of their groups, are left
    out. Raises InputError where its inputs are not prepared as it reads them, and where it has seen all rows.
    """
    from mlflow.artifacts import download_artifacts

    from medpipe import backend  # which imports Keras: 5 s that other registrations do without
    from medpipe.data.arrays import load_task, targets
    from medpipe.evaluation.tables import chances, counting, of_classes, of_masks, volumes
    from medpipe.models import network
    from medpipe.models.predict import finite, predict

    logged = client.get_logged_model(model_id)
    place = f"{logged.artifact_location}/data/{logged.name}"
    backend.start(seed, "float32")
    with TemporaryDirectory() as folder:
        files = Path(download_artifacts(place, dst_path=folder, tracking_uri=client.tracking_uri))
        delivered, model = network.read(files)
    folders = [data / "prepared" / key for key in delivered.inputs]
    if lacking := [folder.name for folder in folders if not folder.exists()]:
        raise InputError(f"its input {lacking[0]} is not prepared")
    rows, arrays = load_task(data / "split" / task, folders)
    for part, variant in zip(arrays, delivered.variants, strict=True):
        if part.variant != variant:
            raise InputError(f"its input {part.name} was prepared otherwise")

    new = (rows["set"] == "test") & ~is_known(rows, seen)
    classes, only = delivered.classes, delivered.settings.get("only")
    labels = np.array(classes)[targets(rows, declared.classes, delivered.settings["merge"])]
    chosen = np.flatnonzero(new & ((labels == only) if only else True))
    if not len(chosen):
        raise InputError("it has seen the lesions or patients of all test rows")
    served = old.report["served"]
    shown, said = rows.iloc[chosen][["id", "set", "group", "label"]], labels[chosen].tolist()
    count = None
    if delivered.kind != "classifier":
        shown = volumes(shown, arrays[0], chosen)
        count = counting(delivered, arrays[0], shown, chosen)
    reduce = finite(delivered.name, count)
    outputs = predict(model, [part.inputs for part in arrays], chosen, flips=served["flips"], reduce=reduce)
    if delivered.kind == "classifier":
        return replace(old, table=of_classes(shown, said, classes, outputs["output"], served["temperature"]))
    p = chances(classes, outputs["p"], served["temperature"]) if delivered.kind == "cascade" else {}
    return replace(old, table=of_masks(shown, said, outputs["counts"], arrays[0].marks, p))


def is_known(rows: pd.DataFrame, seen: pd.DataFrame) -> pd.Series:
    """Of each of `rows` (n,) whether its lesion or patient was in the training or validation set of the split `seen`:
    under the group's name then, or by an image that has the row's group now, since near duplicates tie groups together.
    """
    learnt = seen[seen["set"].isin(["train", "val"])]
    groups = rows.loc[rows["id"].isin(learnt["id"]), "group"]
    return rows["group"].isin(learnt["group"]) | rows["group"].isin(groups)
