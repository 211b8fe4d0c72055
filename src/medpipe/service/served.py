"""A packaged model, loaded, and what it is: name, version, hash."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medpipe import store
from medpipe.errors import InputError
from medpipe.models.delivery import Delivery, read_recipe
from medpipe.params import Decoding
from medpipe.serving import manifest, signing
from medpipe.serving.columns import ERROR

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTERED = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
_EARLIER = {"context": 0, "max_voxels": 1 << 28}  # what variants of earlier releases do not say


@dataclass(frozen=True)
class Version:
    """What a model's address means now. `number` is None for a model that is in no registry."""

    uri: str  # of this very version
    name: str
    number: str | None


@dataclass(frozen=True)
class Served:
    """A loaded model. `inputs` and `outputs` are its columns, `error` not among them."""

    version: Version
    sha256: str  # of the manifest of its files
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    recipe: Delivery
    decoding: Decoding | None  # of its images
    example: pd.DataFrame
    answer: Callable[[pd.DataFrame], object]  # the package's own

    @property
    def about(self) -> dict[str, str | None]:
        """What every answer says of the model that gave it."""
        return {"model": self.version.name, "version": self.version.number, "sha256": self.sha256}

    def predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        """One row a case: `outputs`, `error`, and unless an earlier release packaged the model, `embedding`
        (Predictor.observe).
        """
        answers = self.answer(cases)
        assert isinstance(answers, pd.DataFrame)
        return answers


def follows(uri: str) -> bool:
    """Whether what a model's address means may change: that of an alias."""
    return "@" in uri and REGISTERED.fullmatch(uri) is not None


def registry() -> "MlflowClient":
    """The store that MLFLOW_TRACKING_URI names, else mlflow.db here. Raises InputError where there is neither, or none
    that can be opened."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path("mlflow.db").exists():  # MLflow would make one
        raise InputError("MLFLOW_TRACKING_URI is not set, and no mlflow.db is here; set it to the store of the model")
    # MLflow's seven tries of 120 s each are for whoever trains.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    try:
        return MlflowClient()
    except MlflowException:
        scheme = mlflow.get_tracking_uri().partition(":")[0]
        raise InputError(
            f"MLFLOW_TRACKING_URI: the installed MLflow opens no {scheme}: store; give a server's address, or for a "
            "database install mlflow beside mlflow-skinny"
        ) from None


def find(uri: str) -> Version:
    """The version that a model's address means. Raises InputError where the registry has none."""
    from mlflow.exceptions import MlflowException

    match = REGISTERED.fullmatch(uri)
    if match is None:
        if "/" not in uri and not Path(uri).exists():
            raise InputError(f"{uri}: no such folder; a registered model is models:/NAME@ALIAS or models:/NAME/VERSION")
        return Version(uri, Path(uri).name, None)
    name, alias, number = match.groups()
    client = registry()
    try:
        get, which = (client.get_model_version_by_alias, alias) if alias else (client.get_model_version, number)
        found = str(get(name, which).version)
    except MlflowException as error:
        raise InputError(
            f"{uri}: {store.address(client)} has none ({error.message}); set MLFLOW_TRACKING_URI to the store that "
            "does, or name another model"
        ) from None
    return Version(f"models:/{name}/{found}", name, found)


def load(version: Version, **config: Any) -> Served:
    """The model, run once on its own example. `config` are arguments of the Predictor in the package.

    Raises InputError where it cannot be had or is no model of this pipeline.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    try:
        folder = Path(download_artifacts(version.uri))
        signing.check(folder, imported=False)
        manifest.check(folder)  # as the package does, but before its code runs
        pyfunc = load_model(str(folder), model_config=config)
        [data] = (folder / "data").iterdir()
        recipe = read_recipe(data)
        variants = [variant for variant in recipe.variants if variant["kind"] == "images"]
        sha256 = hashlib.sha256((folder / manifest.FILE).read_bytes()).hexdigest()
    except (MlflowException, OSError, ValueError) as error:  # the package has an InputError of its own
        raise InputError(f"{version.uri}: cannot be loaded: {error}") from None
    signature = pyfunc.metadata.signature
    assert signature is not None
    assert signature.outputs is not None
    assert pyfunc.input_example is not None  # all of which the manifest has found
    inputs, outputs = signature.inputs.input_names(), signature.outputs.input_names()
    outputs.remove(ERROR)
    try:
        answer = pyfunc.get_raw_model().observe
    except NotImplementedError:
        answer = pyfunc.predict
    answer(
        pyfunc.input_example
    )  # a model that cannot answer is not served, and the first request is as fast as the others
    decoding = Decoding(**_EARLIER | variants[0]["decoding"]) if variants else None
    return Served(version, sha256, tuple(inputs), tuple(outputs), recipe, decoding, pyfunc.input_example, answer)
