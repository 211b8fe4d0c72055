"""A delivered model in MLflow's format: graph, recipe, the code that reads raw cases, signature, example, versions.

Nothing here runs the model, so TensorFlow is not imported.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medpipe.models import delivery, ood
from medpipe.models.delivery import Delivery
from medpipe.params import Category, Feature
from medpipe.serving import code, columns, manifest, signing
from medpipe.serving.cases import declared_features

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model, ModelSignature

LIBRARIES = ("mlflow-skinny", "onnxruntime", "numpy", "pandas", "pillow", "pydantic", "pyyaml")


def requirements(recipe: Delivery) -> list[str]:
    """The libraries that the packaged model needs, as they are here: pydicom and nibabel where it is declared how such
    files become its images.
    """
    decodings = [variant["decoding"] for variant in recipe.variants if variant["kind"] == "images"]
    medical = {"pydicom": any(one["window"] is not None for one in decodings)}
    medical["nibabel"] = any(one["axis"] is not None for one in decodings)
    return [f"{name}=={version(name)}" for name in (*LIBRARIES, *(name for name, read in medical.items() if read))]


def digest(model: Path, max_pixels: int, served: Mapping[str, Any]) -> str:
    """What tells one package of the delivered model in folder `model` from another. Raises InputError as `save`."""
    settings = [code.digest(), max_pixels, dict(served), requirements(delivery.read_recipe(model))]
    total = hashlib.sha256(json.dumps(settings).encode())
    for file in sorted(file for file in model.rglob("*") if file.is_file()):
        with file.open("rb") as opened:
            name = file.relative_to(model).as_posix()
            total.update(name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


def save(model: Path, folder: Path, max_pixels: int, served: Mapping[str, Any], about: "Model | None" = None) -> None:
    """Write the delivered model in folder `model` to the new `folder`.

    Images of more than `max_pixels` pixels will be refused; `served` is what evaluate did to the outputs and found for
    them, by the names of the Predictor's arguments. `about` names the run and the logged model that it is of. Raises
    InputError where the folder's recipe is lost or damaged, or the key that signs is none.
    """
    from mlflow.pyfunc import save_model

    recipe = delivery.read_recipe(model)
    logging.getLogger(save_model.__module__).setLevel(logging.WARNING)  # it announces that it checks the example
    with TemporaryDirectory() as name:
        package = code.write(Path(name))
        save_model(
            str(folder),
            mlflow_model=about,
            loader_module=f"{package}.{code.LOADER}",
            data_path=str(model),
            code_paths=[f"{name}/{package}"],
            signature=signature(recipe, served["rule"] is not None, ood.read(model / ood.FILE) is not None),
            input_example=example(recipe),
            pip_requirements=requirements(recipe),
            model_config={"max_pixels": max_pixels, **served, "image_root": None},
        )
    manifest.write(folder)
    signing.write(folder)


def signature(recipe: Delivery, decides: bool, scored: bool) -> "ModelSignature":
    """Columns in and out, as `columns` tells them.

    Those in are of any type: as strings, categories and a column all NaN would be refused.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    inputs = [ColSpec(AnyType(), name) for name in columns.read(recipe)]
    outputs = [ColSpec(of, name, required=False) for name, of in columns.answered(recipe, decides, scored).items()]
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def example(recipe: Delivery) -> "pd.DataFrame":
    """A case as the served model reads it over HTTP: a grey ramp for an image."""
    import pandas as pd
    from PIL import Image

    case: dict[str, Any] = {}
    if "image" in columns.read(recipe):
        buffer = BytesIO()
        Image.linear_gradient("L").resize((64, 48)).save(buffer, "PNG")
        case["image"] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    for name, feature in _features(recipe).items():
        case[name] = feature.values[0] if isinstance(feature, Category) else sum(feature.range) / 2
    return pd.DataFrame([case])


def _features(recipe: Delivery) -> dict[str, Feature]:
    """What the model reads beside images, each once."""
    return {name: feature for variant in recipe.variants for name, feature in declared_features(variant).items()}
