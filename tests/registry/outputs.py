"""The files that the stages leave of a model of the task skin."""

import json

PIXELS = 1_000_000


def places(root, name):
    """What publish reads of a model, by argument."""
    return {
        "model": root / "models" / name,
        "metrics": root / f"metrics/skin/{name}.json",
        "report": root / f"reports/skin/models/{name}.json",
        "plots": root / "plots/skin" / name,
        "graph": root / f"predictions/skin/{name}.onnx",
        "detector": root / f"predictions/skin/{name}.npz",
        "predictions": root / f"predictions/skin/{name}.parquet",
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
