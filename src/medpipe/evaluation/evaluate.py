"""From a delivered model to its prediction table, its report and what its plots show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data.arrays import Arrays, Dealt, targets
from medpipe.errors import InputError
from medpipe.evaluation import mistakes, ood, segmentation
from medpipe.evaluation.calibration import fit_temperature
from medpipe.evaluation.decisions import choose
from medpipe.evaluation.exported import exported
from medpipe.evaluation.mask_plots import Example
from medpipe.evaluation.predictions import classified
from medpipe.evaluation.report import cascade_report, classification_report, segmentation_report
from medpipe.evaluation.tables import chances, counting, of_classes, of_masks, predict_masks, volumes
from medpipe.explain.cam import grad_cam
from medpipe.explain.maps import Maps
from medpipe.explain.tables import mean_shap
from medpipe.models.decision import Rule
from medpipe.models.delivery import Delivery, OutOfFold
from medpipe.models.embedding import EMBEDDING, observed
from medpipe.models.ood import COLUMN, Detector
from medpipe.models.predict import BATCH, Outputs, Reduce, finite, predict
from medpipe.models.temperature import temper
from medpipe.params import Evaluate
from medpipe.training.selection import thin, undersample

GALLERY = 6  # slices
SETS = ("val", "test", "external")
KEYS = ["id", "set", "group", "label"]


@dataclass
class Evaluation:
    table: pd.DataFrame
    headline: dict[str, Any]
    report: dict[str, Any]
    graph: bytes  # the ONNX file of the model that is served
    errors: list[dict[str, Any]] = field(default_factory=list)  # the worst, as pictures
    examples: list[Example] = field(default_factory=list)
    shap: tuple[str, pd.Series] | None = None
    detector: Detector | None = None


def evaluate(
    delivered: Delivery,
    model: keras.Model,
    rows: pd.DataFrame,
    arrays: list[Arrays],
    dealt: Dealt,
    settings: Evaluate,
    seed: int,
    out_of_fold: OutOfFold | None = None,
) -> Evaluation:
    """Predict the rows of validation, test and external set, and measure.

    A classifier's probabilities are tempered by what its validation rows ask for, after flips and after the members of
    a fusion; under `served` the report says so, with all else that the served model does to what the network says.

    Of a classifier the report also measures the rows that trained it; its table never holds them.

    What has an embedding is delivered with an out-of-distribution score, the table's column `ood`; a cross-validated
    model, or a fusion of such, has no validation rows that trained none of it to be calibrated on, and no score.

    Of a cross-validated model the validation set is all of its `out_of_fold` rows, each with what the one model said
    that was not trained on it, without flips: it said so in training. So it is with a fusion of such models.

    `rows` and `arrays` are the split's, row by row; `dealt` is what the split recorded. The external set has no
    metadata, so that a model which reads them has no external rows.
    """
    settings = effective(delivered, settings)
    classes, merge, only = delivered.classes, delivered.settings["merge"], delivered.settings.get("only")
    numbers = targets(rows, dealt.classes, merge)
    labels = np.array(classes)[numbers]
    trained = rows["set"] == "train"
    if out_of_fold is not None:
        judged = np.isin(np.arange(len(rows)), out_of_fold.rows)
        rows, trained = rows.assign(set=rows["set"].where(~judged, "val")), trained | judged
    tables = any(delivered.features)
    wanted = rows["set"].isin(SETS[:2] if tables else SETS) & ((labels == only) if only else True)
    chosen = np.flatnonzero(wanted)
    watched = None if _crossed(delivered.settings) else observed(model)
    shown = rows.iloc[chosen][[*KEYS, *dealt.subgroups]]
    reduce = None
    if delivered.kind != "classifier":
        shown = volumes(shown, arrays[0], chosen)
        reduce = counting(delivered, arrays[0], shown, chosen)
    outputs = _outputs(watched or model, arrays, chosen, out_of_fold, settings.flips, reduce)
    own = np.ones(len(chosen), bool) if out_of_fold is None else ~np.isin(chosen, out_of_fold.rows)
    inputs = [part.inputs for part in arrays]
    graph = exported(delivered.name, watched or model, inputs, chosen[own], settings.flips)
    training = dict(Counter(labels[trained].tolist()))
    learnt = np.empty(0, np.int64)
    if out_of_fold is None:
        learnt = _learnt(delivered.settings, numbers, trained & ((labels == only) if only else True))
    served: dict[str, Any] = {"flips": list(settings.flips), "temperature": None, "rule": None}
    if delivered.kind != "segmenter":
        said, val = outputs["output" if delivered.kind == "classifier" else "p"], (shown["set"] == "val").to_numpy()
        temperature = served["temperature"] = fit_temperature(delivered.name, said[val], numbers[chosen][val])

    detector = None
    if delivered.kind == "classifier":
        table = of_classes(shown, labels[chosen].tolist(), classes, said, temperature)
        measured = table
        if out_of_fold is None:
            trained_on = _outputs(watched or model, arrays, learnt, None, settings.flips)
            about, true = rows.iloc[learnt][KEYS], labels[learnt].tolist()
            known = of_classes(about, true, classes, trained_on["output"], temperature)
            if watched is not None:
                detector = ood.fit(trained_on[EMBEDDING], numbers[learnt], outputs[EMBEDDING][table["set"] == "val"])
            measured = pd.concat([table, known], ignore_index=True)
        rule = _rule(delivered, table, settings)
        measures = classification_report(delivered.name, measured, classes, training, rule, settings, seed)
        found = Evaluation(table, *measures, graph=graph)
        found.report |= {"only": only, "served": served | {"rule": rule and asdict(rule)}}
        _score(found, detector, outputs, settings, seed)
        found.errors = _errors(model, table, dict(zip(table["id"], chosen, strict=True)), classes, arrays)
        if fitted := delivered.settings.get("fitted"):
            found.report["fitted"] = fitted
        if delivered.settings.get("kind") == "mean":
            found.report["weights"] = {name: m["weight"] for name, m in delivered.settings["members"].items()}
        if len(arrays) == 1 and tables and delivered.task in settings.explain:
            explained = _of(delivered, settings.explain[delivered.task], "explain")
            found.shap = explained, _shap(delivered, model, rows, trained, arrays[0], explained, temperature, seed)
        return found

    assert arrays[0].masks is not None
    counted = shown, labels[chosen].tolist(), outputs["counts"], arrays[0].marks
    if delivered.kind == "segmenter":
        table = of_masks(*counted, {})
        measures = segmentation_report(delivered.name, table, classes, settings, seed)
        found = Evaluation(table, *measures, graph=graph)
    else:
        assert delivered.threshold is not None
        table = of_masks(*counted, chances(classes, said, temperature))
        measures = cascade_report(delivered.name, table, classes, delivered.threshold, training, settings, seed)
        found = Evaluation(table, *measures, graph=graph)
        if watched is not None:
            seen = keras.Model(watched.input, {EMBEDDING: watched.output[EMBEDDING]})
            embedding = _outputs(seen, arrays, learnt, None, settings.flips)[EMBEDDING]
            detector = ood.fit(embedding, numbers[learnt], outputs[EMBEDDING][table["set"] == "val"])
    _score(found, detector, outputs, settings, seed)
    found.report |= {"only": only, "served": served, "mask_pixels": list(arrays[0].masks.shape[1:])}
    found.report["volumes"] = arrays[0].volumes is not None
    gallery = segmentation.examples(table, GALLERY)
    ids = {*gallery, *mistakes.worst_masks(table)["id"]}
    place = {name: int(row) for name, row in zip(table["id"], chosen, strict=True) if name in ids}
    drawn = _draw(delivered, watched or model, arrays, place, out_of_fold, settings.flips)
    found.examples = [drawn[identifier] for identifier in gallery]
    found.errors = mistakes.of_masks(table, drawn.__getitem__, len(arrays[0].marks) > 1)
    return found


def _draw(
    delivered: Delivery,
    model: keras.Model,
    arrays: list[Arrays],
    place: dict[str, int],
    out_of_fold: OutOfFold | None,
    flips: Sequence[str],
) -> dict[str, Example]:
    """Slices with their masks, by id; `place`: of each its row number. Their masks are predicted again, for those of
    all rows are not kept.
    """
    if not place:
        return {}
    rows = np.array([*place.values()])

    def keep(outputs: Outputs, _: npt.NDArray[np.int64]) -> Outputs:
        return {"mask": predict_masks(delivered, outputs)}

    predicted = _outputs(model, arrays, rows, out_of_fold, flips, keep)["mask"]
    images, truth = arrays[0].inputs[rows], arrays[0].masks[rows]  # type: ignore[index]
    return {name: Example(name, *parts) for name, *parts in zip(place, images, truth, predicted, strict=True)}


def _errors(
    model: keras.Model, table: pd.DataFrame, place: dict[str, int], classes: tuple[str, ...], arrays: list[Arrays]
) -> list[dict[str, Any]]:
    """The worst ones with their heat maps, of a model that reads images; `place`: of each id its row number."""
    images = [part.inputs for part in arrays if part.inputs.ndim == 4]
    if not images:
        return []

    def explain(ids: Sequence[str], said: Sequence[int]) -> Maps:
        rows = [place[identifier] for identifier in ids]
        return grad_cam(model, [part.inputs[rows] for part in arrays], said)

    largest = max(images, key=lambda values: values.shape[1])
    return mistakes.of_classes(table, classes, lambda identifier: largest[place[identifier]], explain)


def _score(
    found: Evaluation, detector: Detector | None, outputs: dict[str, npt.NDArray], settings: Evaluate, seed: int
) -> None:
    """Adds the score to the table, and what it is worth to the report."""
    found.detector, found.report["ood"] = detector, None
    if detector is not None:
        found.table[COLUMN] = detector.score(outputs[EMBEDDING])
        found.report["ood"] = ood.measure(found.table, settings, seed)


def effective(delivered: Delivery, settings: Evaluate) -> Evaluate:
    """The settings without flips for a model that reads tables alone."""
    return settings if () in delivered.features else settings.model_copy(update={"flips": ()})


def _crossed(settings: dict[str, Any]) -> bool:
    """Whether a model, or a member of it, was cross-validated."""
    return bool(settings.get("folds")) or any(map(_crossed, settings.get("members", {}).values()))


def _learnt(settings: dict[str, Any], labels: npt.NDArray[np.int64], trained: pd.Series) -> npt.NDArray[np.int64]:
    """The row numbers of the training set that trained the model, drawn again as its training drew them."""
    rows = np.flatnonzero(trained)
    if settings.get("undersample"):
        rows = undersample(rows, labels, settings["undersample"], settings["seed"])
    return thin(rows, labels, settings["rows"], settings["seed"]) if "rows" in settings else rows


def _outputs(
    model: keras.Model,
    arrays: list[Arrays],
    chosen: npt.NDArray[np.int64],
    out_of_fold: OutOfFold | None,
    flips: Sequence[str],
    reduce: Reduce | None = None,
) -> Outputs:
    """The model's outputs for the `chosen` rows, for those `out_of_fold` the ones from there; `reduce` of `predict`.

    Raises InputError where one is not a number.
    """
    inputs, keep = [part.inputs for part in arrays], finite(model.name, reduce)
    if out_of_fold is None:
        return predict(model, inputs, chosen, flips=flips, reduce=keep)
    judged = np.isin(chosen, out_of_fold.rows)
    parts = [predict(model, inputs, chosen[~judged], flips=flips, reduce=keep)] if not judged.all() else []
    for start in range(0, judged.sum(), BATCH):
        some = chosen[judged][start : start + BATCH]
        parts.append(keep({"output": out_of_fold.of(some)}, some))
    order = np.argsort(np.concatenate([np.flatnonzero(~judged), np.flatnonzero(judged)]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[-1]}


def _rule(delivered: Delivery, table: pd.DataFrame, settings: Evaluate) -> Rule | None:
    """What the model decides by; None where nothing is asked of its task's, or it answers for one class alone."""
    asked = settings.decide.get(delivered.task)
    if asked is None or delivered.settings.get("only"):
        return None
    val = classified(delivered.name, table[table["set"] == "val"], delivered.classes)
    return choose(delivered.name, val, _of(delivered, asked.of, "decide"), asked)


def _of(delivered: Delivery, name: str, section: str) -> str:
    """The model's class that `name` is, or was merged into."""
    merged = {old: new for new, olds in delivered.settings["merge"].items() for old in olds}
    if (found := merged.get(name, name)) not in delivered.classes:
        known = ", ".join(delivered.classes)
        raise InputError(f"evaluate.{section}.{delivered.task}: {name!r} is no class of {delivered.name}: {known}")
    return found


def _shap(
    delivered: Delivery,
    model: keras.Model,
    rows: pd.DataFrame,
    trained: pd.Series,
    arrays: Arrays,
    explained: str,
    temperature: float,
    seed: int,
) -> pd.Series:
    column = delivered.classes.index(explained)
    training, test = (np.asarray(arrays.inputs[some]) for some in (trained, rows["set"] == "test"))

    def probability(table: np.ndarray) -> np.ndarray:
        said = predict(model, [table], np.arange(len(table)), batch=1024)["output"]
        return temper(said, temperature)[:, column]

    return mean_shap(probability, training, test, arrays.features, seed)
