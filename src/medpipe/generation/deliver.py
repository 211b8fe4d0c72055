"""What the stages of generators write."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd

from medpipe import atomic, tracking
from medpipe.errors import InputError
from medpipe.generation import gallery
from medpipe.generation.report import Measured

_MODEL = "generator.keras"


def deliver(
    run: tracking.Run,
    name: str,
    generator: keras.Model,
    described: Mapping[str, Any],
    history: pd.DataFrame,
    canvases: Path,
) -> None:
    """Write generators/<name>/ whole: generator.keras, recipe.json, history.csv, canvas/, run.json."""
    with atomic.folder(Path("generators") / name) as folder:
        generator.save(folder / _MODEL)
        (folder / "recipe.json").write_text(json.dumps(described, indent=1))
        history.to_csv(folder / "history.csv", index=False)
        shutil.copytree(canvases, folder / "canvas")
        run.write(folder)


def read(folder: Path, kind: Literal["sagan", "edm"]) -> keras.Model:
    """The generator that `deliver` wrote. Raises InputError where there is none."""
    match kind:  # that Keras knows its layers
        case "sagan":
            from medpipe.generation import sagan  # noqa: F401
        case "edm":
            from medpipe.generation import edm  # noqa: F401
    try:
        return keras.models.load_model(folder / _MODEL, compile=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / _MODEL}: cannot be read ({error}); run `dvc repro generate`") from error


def write(found: Measured, name: str, task: str, classes: Sequence[str], run: tracking.Run) -> str:
    """Write images, report and pictures, log them to the generator's run, and say in a line what was found."""
    with atomic.folder(Path("data/prepared") / name) as folder:
        np.save(folder / "inputs.npy", found.images)
        of = [classes[label] for label in found.labels]
        meta = {
            "ids": [f"{name}-{place:06}" for place in range(len(of))],
            "labels": of,
            "variant": {"task": task, "kind": "images", "generator": name},
            "features": [],
            "digest": hashlib.sha256(found.images.tobytes() + "".join(of).encode()).hexdigest(),
            "memorised": found.report["memorised"],
        }
        (folder / "meta.json").write_text(json.dumps(meta))
    with atomic.file(Path("reports") / task / "generators" / f"{name}.json") as path:
        path.write_text(json.dumps(found.report, indent=1) + "\n")
    plots = Path("plots") / task / "generators" / name
    with atomic.folder(plots) as folder:
        for key, (images, columns) in found.pictures.items():
            gallery.save(folder / f"{key}.png", images, columns)
    shown = gallery.record(name, classes, found.report, found.pictures, Path("generators") / name / "canvas")
    with atomic.file(Path("predictions") / task / f"{name}.json") as path:
        path.write_text(json.dumps(shown, indent=1) + "\n")
    run.log_artifacts(plots, "gallery")
    run.log_artifacts(Path("reports") / task / "generators" / f"{name}.json")
    whole, copies = found.report["all"], found.report["memorised"]["features"]
    said = f"{name}: {whole['images']} images, features of {found.report['features']}"
    if "generated" in whole:
        for key in ("fid", "kid"):
            value, floor = whole["generated"][key], whole["floor"][key]
            run.log_figure(f"generated/{key}", value, 0)
            run.log_figure(f"generated/{key}_floor", floor, 0)
            said += f"; {key.upper()} {value:.4g} (real against real {floor:.4g})"
    return f"{said}; memorised {copies['share']:.1%} [{copies['low']:.1%}, {copies['high']:.1%}]"
