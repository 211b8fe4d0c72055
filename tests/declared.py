"""The tasks that data.yaml declares, and one of anyone's own."""

from pathlib import Path

from medpipe import params
from medpipe.data.ingest import Ingested, build_manifest

EIGHT_BIT = params.Decoding(window=None, frames="refuse", axis=None, context=0, max_voxels=1 << 20)
CLASSES = ("benign", "malignant")  # of own_task
TASKS = params.load(Path(__file__).parents[1]).tasks


def ingest_archive(archive: Path | str, task: str, settings: params.Ingest) -> Ingested:
    """What ingest makes of a task's archive that lies elsewhere."""
    return build_manifest(task, TASKS[task].model_copy(update={"archive": str(archive)}), settings)


def own_task(archive: Path | str, reader: dict[str, object], **changes: object) -> params.Declaration:
    """A classifying task of CLASSES whose archive this reader reads."""
    declared = {
        "archive": str(archive), "reader": reader, "decoding": EIGHT_BIT, "kind": "classify", "classes": CLASSES,
        "mask_values": None, "features": {}, "subgroups": (), "external": None,
    }  # fmt: skip
    return params.Declaration.model_validate(declared | changes)


def evaluate_settings(resamples: int, **changes: object) -> params.Evaluate:
    """Settings of an evaluation that explains and decides nothing."""
    values = {
        "seed": 0, "resamples": resamples, "confidence": 0.95, "tversky_alpha": 0.7, "explain": {},
        "operating_points": (0.5,), "decide": {}, "max_pixels": 10**6, "flips": (),
    }  # fmt: skip
    return params.Evaluate.model_validate(values | changes)


# What evaluate reports under `served` of a classifier to which it does nothing.
PLAIN = {"flips": [], "temperature": 1.0, "rule": None}
