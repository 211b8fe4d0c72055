"""The values of the FILES (data.yaml, params.yaml, ...) as frozen models, which reject an unknown or missing key by its
file and full name.

Nothing here holds a value or changes one: what passes is what the file says. That is why the stages in `dvc.yaml` do
not depend on this module; what it lets through reaches them as DVC parameters.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator

from medpipe.bases import expand
from medpipe.errors import InputError, SettingError
from medpipe.params.base import Frozen, Name, Positive, Rate, Share, Task
from medpipe.params.data import (
    BrainPhantom,
    ChestPhantom,
    Clean,
    Explore,
    ImagesVariant,
    Ingest,
    Phantom,
    PreparedImages,
    PreparedTable,
    SkinPhantom,
    Split,
    TableVariant,
    Variant,
)
from medpipe.params.decoding import Decoding, Percentiles, Values, Window
from medpipe.params.evaluation import (
    Card,
    Compare,
    Cost,
    Decide,
    Evaluate,
    Floor,
    Gate,
    Probe,
    Registered,
    Sensitivity,
)
from medpipe.params.files import FILE_OF, FILES, parse, read, read_file, sections, write
from medpipe.params.fusion import Cascade, DenseFusion, Fusion, Mean, StackedFusion
from medpipe.params.generation import EdmRecipe, FeatureNetwork, Generator, GeneratorCaps, SaganRecipe, Unet
from medpipe.params.references import (
    check_classes,
    check_generators,
    check_members,
    check_names,
    check_probes,
    check_tasks,
)
from medpipe.params.studies import Row, Study
from medpipe.params.tasks import (
    BACKGROUND,
    RESERVED,
    Category,
    Column,
    Declaration,
    Feature,
    Folders,
    Isic,
    Lookup,
    Number,
    Pairs,
    Pattern,
    Table,
)
from medpipe.params.training import (
    Augmentation,
    Backbone,
    BackboneRecipe,
    Convnet,
    ConvnetRecipe,
    CrossEntropy,
    Decay,
    EarlyStopping,
    Focal,
    FocalTversky,
    Knobs,
    Loss,
    Mixing,
    Mlp,
    MlpRecipe,
    Optimizer,
    Recipe,
    Resnet,
    ResnetRecipe,
    Resunet,
    ResunetRecipe,
    Sampling,
    Scale,
    Warmup,
)
from medpipe.params.tuning import Choices, Dimension, Floats, Integers, Tuning

Settings = TypeVar("Settings", bound=Frozen)


class Params(Frozen):
    # data.yaml
    tasks: dict[Task, Declaration]
    phantom: Phantom
    ingest: Ingest
    clean: dict[Task, Clean]
    split: dict[Task, Split]
    explore: Explore
    image_size: dict[Name, Positive | None]
    prepare: dict[Name, Variant]
    # params.yaml
    seed: int
    deterministic: bool
    scale: Name
    scales: dict[Name, Scale | None]
    train: Knobs
    bases: dict[Name, dict[str, Any]]
    models: dict[Name, Recipe]
    fusions: dict[Name, Fusion]
    # generation.yaml
    generators: dict[Name, Generator]
    generator_caps: dict[Name, GeneratorCaps]
    # evaluation.yaml
    evaluate: Evaluate
    compare: dict[Task, Compare]
    probes: dict[Task, Probe]
    registry: dict[Task, Registered]

    @model_validator(mode="before")
    @classmethod
    def whole_recipes(cls, values: Any) -> Any:
        return expand(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def whole(self) -> "Params":
        check_tasks(self)
        check_classes(self)
        check_names(self)
        check_members(self)
        check_probes(self)
        check_generators(self)
        return self

    @property
    def all_models(self) -> dict[str, Recipe | Fusion]:
        """Every model by name: those of `models`, then those of `fusions`."""
        return {**self.models, **self.fusions}


def load(folder: Path = Path()) -> Params:
    """All values of `folder`'s files. Raises InputError with the file and the full name of every key that is wrong."""
    return checked(read(folder), folder)


def checked(values: Mapping[str, Any], folder: Path = Path()) -> Params:
    """What `read` gives, as settings. Raises InputError as `load` does."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        said = [_describe(problem) for problem in error.errors()]
        raise InputError("\n".join(f"{folder / FILE_OF[re.split('[.:]', line)[0]]}: {line}" for line in said)) from None


def load_studies(path: Path = Path("studies.yaml")) -> dict[str, Study]:
    """The studies by name. Their rows are checked against params.yaml by `medpipe.studies.plan`."""
    return {name: validated(Study, values, str(path), name) for name, values in read_file(path).items()}


def validated(kind: type[Settings], values: Mapping[str, Any], path: str, prefix: str = "") -> Settings:
    """`values` as settings. Raises InputError that names `path` and each key that is wrong, in full behind `prefix`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_describe(problem, prefix)}" for problem in error.errors())) from None


def _describe(problem: Any, prefix: str = "") -> str:
    """`models.skin-b4.lr: ...`; the tag that pydantic adds for the member of a union is left out."""
    tags = {"table", "images", "mlp", "backbone", "resnet", "convnet", "resunet", "crossentropy", "binary_crossentropy"}
    tags |= {"focal", "focal_tversky", "late", "early", "stacked", "cascade", "mean", "sagan", "edm"}
    parts = [*filter(None, prefix.split(".")), *(str(part) for part in problem["loc"])]
    # Such a message begins with the rest of the key.
    inside = isinstance(problem.get("ctx", {}).get("error"), SettingError)
    # A tag stands behind the name of a recipe or `loss`, never first, and never where it is the key that is wrong; the
    # kinds that have caps are keys.
    tagged = parts[:1] != ["generator_caps"]
    kept = [p for i, p in enumerate(parts) if not (tagged and p in tags and 0 < i < len(parts) - (not inside))]
    kept = [part for part in kept if not part.startswith("<") and part != "[key]"]
    key = ".".join(kept)
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: missing; every key must have a value"
        case "string_pattern_mismatch":
            return f"{key}: {problem['input']!r} must match {problem['ctx']['pattern']}; rename it"
    message = problem["msg"].removeprefix("Value error, ")
    if inside:
        return f"{key}.{message}"
    return f"{key}: {message}" if key else message
