"""`params.yaml`, read once and whole, into frozen models that reject an unknown or missing key by its full name.

Nothing here holds a value or changes one: what passes is what the file says. That is why the stages in `dvc.yaml` do
not depend on this module; what it lets through reaches them as DVC parameters.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError, model_validator

from medpipe.errors import InputError, SettingError
from medpipe.params.base import Frozen, Positive, Rate, Share, Task
from medpipe.params.data import (
    BrainPhantom,
    ChestPhantom,
    Clean,
    Explore,
    ImagesVariant,
    Ingest,
    NoClean,
    Phantom,
    SkinClean,
    SkinPhantom,
    Split,
    TableVariant,
    Variant,
)
from medpipe.params.evaluation import Compare, Evaluate
from medpipe.params.fusion import Cascade, DenseFusion, Ensemble, Fusion, StackedFusion, Vote
from medpipe.params.studies import Row, Study
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
    seed: int
    archives: dict[Task, str]
    phantom: Phantom
    ingest: Ingest
    clean: Clean
    split: dict[Task, Split]
    explore: Explore
    prepare: dict[str, Variant]
    scale: str
    scales: dict[str, Scale | None]
    train: Knobs
    models: dict[str, Recipe]
    fusions: dict[str, Fusion]
    ensembles: dict[str, Ensemble]
    votes: dict[str, Vote]
    evaluate: Evaluate
    compare: dict[Task, Compare]
    registry: dict[Task, str]

    @model_validator(mode="after")
    def references(self) -> "Params":
        """Every name that one section takes from another must be there."""
        if self.scale not in self.scales:
            raise ValueError(f"scale: {self.scale!r} is none of scales: {', '.join(self.scales)}")
        for section, recipes in (("models", self.models), ("fusions", self.fusions)):
            for name, recipe in recipes.items():
                for key in recipe.inputs:
                    variant = self.prepare.get(key)
                    if variant is None or variant.task != recipe.task:
                        known = [k for k, v in self.prepare.items() if v.task == recipe.task]
                        raise ValueError(f"{section}.{name}.inputs: {key!r} is none of prepare's: {', '.join(known)}")
        for name, fusion in self.fusions.items():
            for member, key in zip(fusion.members, fusion.inputs, strict=True):
                if member not in self.models or self.models[member].task != fusion.task:
                    raise ValueError(f"fusions.{name}.members: {member!r} is no {fusion.task} model in models")
                if self.models[member].folds is not None:
                    raise ValueError(
                        f"fusions.{name}.members: models.{member}.folds must be null: the rows that a fusion is "
                        "fitted on have trained the models of the folds"
                    )
                reads = self.models[member].inputs[0]
                if reads != key:
                    raise ValueError(f"fusions.{name}.inputs: {key!r} is not what models.{member} reads: {reads!r}")
        for task, settings in self.compare.items():
            for name in settings.models:
                model = self.models.get(name) or self.fusions.get(name) or self.ensembles.get(name)
                if model is None or model.task != task:
                    raise ValueError(
                        f"compare.{task}.models: {name!r} is no {task} model in models, fusions or ensembles"
                    )
        names = [*self.models, *self.fusions, *self.ensembles]
        if shared := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"models, fusions and ensembles: {', '.join(shared)} is there twice; make names unique")
        return self

    @model_validator(mode="after")
    def elections(self) -> "Params":
        """An ensemble has two or more votes, each of another classifier of its task."""
        found: dict[str, list[str]] = {name: [] for name in self.ensembles}
        for name, vote in self.votes.items():
            where = f"votes.{name}"
            if vote.ensemble not in self.ensembles:
                known = ", ".join(self.ensembles) or "that has none"
                raise ValueError(f"{where}.ensemble: {vote.ensemble!r} is none of ensembles: {known}")
            if vote.task != self.ensembles[vote.ensemble].task:
                task = self.ensembles[vote.ensemble].task
                raise ValueError(f"{where}.task: is {vote.task}, but ensembles.{vote.ensemble}.task is {task}")
            member = self.models.get(vote.member) or self.fusions.get(vote.member)
            if member is None or member.task != vote.task:
                raise ValueError(f"{where}.member: {vote.member!r} is no {vote.task} model in models or fusions")
            if isinstance(member, ResunetRecipe | Cascade) or getattr(member, "only", None):
                raise ValueError(
                    f"{where}.member: {vote.member!r} must be a classifier of all rows: no masks, no `only`"
                )
            if vote.member in self.models and self.models[vote.member].folds is not None:
                raise ValueError(
                    f"{where}.member: models.{vote.member}.folds must be null: its validation rows are others than "
                    "those of the other members"
                )
            if vote.member in found[vote.ensemble]:
                raise ValueError(f"{where}.member: {vote.member!r} has a vote in {vote.ensemble} already; remove one")
            found[vote.ensemble].append(vote.member)
        for name, members in found.items():
            if len(members) < 2:
                raise ValueError(f"ensembles.{name}: has {len(members)} of votes, must have two or more")
        return self


class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats: PyYAML reads `2e-05`, which DVC writes, as a string (YAML 1.1 wants a dot and a sign)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def read(path: Path) -> dict[str, Any]:
    """The file's mapping, unvalidated. Raises InputError where there is none or it is no YAML mapping."""
    try:
        return parse(path.read_text(), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the stages from the repository's root") from None


def parse(text: str, source: str) -> dict[str, Any]:
    """The mapping that the YAML `text` holds. Raises InputError, naming `source`, where it is none."""
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{source}: must be a mapping of sections, is {type(values).__name__}")
    return values


def load(path: Path = Path("params.yaml")) -> Params:
    """All parameters, validated. Raises InputError with the full name of every key that is wrong."""
    return validated(Params, read(path), str(path))


def load_studies(path: Path = Path("studies.yaml")) -> dict[str, Study]:
    """The studies by name. Their rows are checked against params.yaml by `medpipe.studies.plan`."""
    return {name: validated(Study, values, str(path), name) for name, values in read(path).items()}


def validated(kind: type[Settings], values: Mapping[str, Any], path: str, prefix: str = "") -> Settings:
    """`values` as settings. Raises InputError that names `path` and each key that is wrong, in full behind `prefix`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_describe(problem, prefix)}" for problem in error.errors())) from None


def _describe(problem: Any, prefix: str) -> str:
    """`models.skin-b4.lr: ...`; the tag that pydantic adds for the member of a union is left out."""
    tags = {"table", "images", "mlp", "backbone", "resnet", "convnet", "resunet", "crossentropy", "binary_crossentropy"}
    tags |= {"focal", "focal_tversky", "late", "early", "stacked", "cascade"}
    parts = [*filter(None, prefix.split(".")), *(str(part) for part in problem["loc"])]
    # Such a message begins with the rest of the key.
    inside = isinstance(problem.get("ctx", {}).get("error"), SettingError)
    # A tag stands behind the name of a recipe or `loss`, never first, and never where it is the key that is wrong.
    kept = [p for i, p in enumerate(parts) if not (p in tags and 0 < i < len(parts) - (not inside))]
    kept = [part for part in kept if not part.startswith("<")]
    key = ".".join(kept)
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: missing; every key must have a value"
    message = problem["msg"].removeprefix("Value error, ")
    if inside:
        return f"{key}.{message}"
    return f"{key}: {message}" if key else message
