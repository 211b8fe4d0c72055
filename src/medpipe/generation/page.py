"""A generator in its task's comparison: its measures beside those of real images, and its pictures."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from medpipe.evaluation.wording import number

MEASURES = {
    "fid": "FID",
    "kid": "KID × 1,000",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "inception_score": "inception score",
}


class Shown(NamedTuple):
    name: str
    head: list[str]
    rows: list[list[str]]
    pictures: list[dict[str, str]]  # caption, jpeg in base64
    notes: list[str]


def shown(found: Mapping[str, Any]) -> Shown:
    """Of what `gallery.record` gave."""
    report = found["report"]
    whole, rows = report["all"], []
    for key, label in MEASURES.items():
        if key in whole.get("generated", {}):
            times = 1000 if key == "kid" else 1
            rows.append([label, *(number(times * whole[side][key]) for side in ("generated", "floor"))])
    notes = [
        f"{whole['images']} generated images, and as many that it did not see (the floor), against as many of its"
        f" {report['training_images']:,} training images, at {report['side']} px, by features of"
        f" {report['features']}; by another network, or of another number of images, these are other figures.",
    ]
    for key, what in (("pixels", "pixels"), ("features", "features")):
        copies = report["memorised"][key]
        notes.append(
            f"Nearer to a training image by {what} than {copies['expected']:.0%} of unseen real ones are:"
            f" {copies['share']:.1%} [{copies['low']:.1%}, {copies['high']:.1%}] of the generated ones. Where the"
            f" interval lies above {report['memorised']['limit']:.0%} by features, no model may train on them."
        )
    return Shown(found["name"], ["", "generated", "real (floor)"], rows, found["pictures"], notes)
