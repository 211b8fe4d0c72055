"""What must be known to read a comparison's figures."""

from typing import Any

from medpipe.evaluation import trust
from medpipe.evaluation.wording import TWICE, metric_name


def reading(comparison: dict[str, Any], section: dict[str, Any]) -> list[str]:
    """What must be known to read a section's figures."""
    notes = [
        f"Intervals: {comparison['confidence']:.0%}, studentised by {comparison['resamples']} resamples of whole"
        " groups (lesions or patients), the same for every model.",
        *refused(section),
        "Differences: paired, in those resamples; p two-sided, then corrected by Holm's method for all"
        f" tests of the ranking ({section['tests']}). They are of test rows, which chose nothing.",
        f"No worse: one-sided p of being worse by {section['margin']:g} of {metric_name(section['metric'])} or more;"
        " where it is small in both directions, the two models are equivalent. It is not corrected.",
        f"Ranked, and the best chosen, by {metric_name(section['metric'])} on the validation rows that all models have."
        " Those rows also chose epochs, a cascade's threshold and an ensemble's weights, which flatters them: what to"
        " expect of new cases is the test rows' figure.",
    ]
    if "zero_r" in section:
        label = section["zero_r"]["label"]
        notes.append(
            f"ZeroR says “{label}”, the most frequent class in training, to everything. Balanced accuracy is"
            " macro recall, accuracy weighted recall."
        )
    else:
        height, width = section["mask_pixels"]
        distance = "HD95 in pixels, a mean over slices with both masks"
        if section["volumes"]:
            distance = "HD95 in millimetres, of volumes with both masks in three dimensions"
        notes.append(
            f"Masks of {height} x {width} pixels, as the models read the slices. Dice, IoU and Tversky (missed pixels"
            f" weigh {section['tversky_alpha']:g}) of a patient's whole volume; {distance}, so that a"
            f" {'volume' if section['volumes'] else 'slice'} which is missed altogether does not count in it; then mean"
            " or median over patients."
        )
        if section["support"]:
            notes.append(
                "A patient's figure is the mean over the classes that masks mark. A class that neither the patient's"
                " masks nor the model's hold counts as 1; n: slices that hold it."
            )
    if "classes" in section and section["pairs"]:
        notes.append(
            "McNemar: p of one model being right on more rows, exact, over groups. DeLong: p of a difference in a"
            " class's ROC-AUC against the others, in Obuchowski's form for groups. Neither is corrected."
        )
    if "curves" in section:
        of = section["curves"]["of"]
        whose = "the mean over the classes, each against the rest" if of == "macro" else f"of {of} against the rest"
        notes.append(
            f"Curves: {whose}, at {len(section['curves']['at'])} points; the precision is that where the recall is"
            " first reached. Reliability: at most 15 bins of as many rows each, which few rows make ragged."
        )
    if any(model["only"] for model in section["models"]):
        notes.append(
            "A model without a rank was trained and tested on the rows of one class, which nobody can tell beforehand:"
            " it is never the champion. Its differences are taken on the rows that both have."
        )
    if section.get("in_sample"):
        notes.append(
            f"Heads fitted in sample, as published: {', '.join(section['in_sample'])}. Of the rows that trained them"
            " the members are surer than of others, so such a head trusts them too much; give them `folds` and it"
            " is fitted out of fold."
        )
    if section.get("operating_points"):
        notes.append(
            f"Operating points: “{section['classes'][1]}” is said where the network, of a cascade its classifier, gives"
            " it that threshold or more, before the temperature. The model's own is marked; missed and false alarms are"
            " rows."
        )
    return notes + trust.notes(section)


def refused(section: dict[str, Any]) -> list[str]:
    """Which metrics of the first model have no valid interval, and why."""
    first = section["models"][0]
    metrics: dict[str, list[str]] = {}
    whole = {metric_name(metric): found for metric, found in first["metrics"].items() if metric not in TWICE}
    own = {f"{metric_name(m)} of {c}": found for c, row in first["per_class"].items() for m, found in row.items()}
    for name, found in (whole | own).items():
        if found["value"] is not None and "why" in found:
            metrics.setdefault(found["why"], []).append(name)
    if not metrics:
        return []
    listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in metrics.items())
    return [f"No valid interval, for there it would not cover what it promises: {listed}."]
