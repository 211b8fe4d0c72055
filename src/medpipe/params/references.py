"""What one section takes from another must be there, and fit."""

from typing import TYPE_CHECKING, Any

from medpipe.data.vocabulary import merged_classes
from medpipe.errors import SettingError
from medpipe.params.fusion import Cascade, Mean
from medpipe.params.tasks import Category
from medpipe.params.training import Recipe, ResunetRecipe

if TYPE_CHECKING:
    from medpipe.params import Params


def check_tasks(params: "Params") -> None:
    """Sections name declared tasks, and a task has the sections that those which it has need."""
    sections = {name: set(getattr(params, name)) for name in ("clean", "split", "compare", "probes", "registry")}
    for name in ("prepare", "models", "fusions", "generators"):
        for key, settings in getattr(params, name).items():
            if settings.task not in params.tasks:
                raise ValueError(f"{name}.{key}.task: {settings.task!r} is none of tasks: {', '.join(params.tasks)}")
            sections.setdefault(name, set()).add(settings.task)
    for name, tasks in sections.items():
        if unknown := sorted(tasks - set(params.tasks)):
            raise ValueError(f"{name}.{unknown[0]}: is none of tasks: {', '.join(params.tasks)}")
    for name, needed in (
        ("split", "clean"), ("prepare", "clean"), ("models", "split"), ("generators", "split"), ("compare", "models"),
        ("probes", "compare"), ("registry", "compare"),
    ):  # fmt: skip
        if lacking := sorted(sections.get(name, set()) - sections.get(needed, set())):
            raise ValueError(f"{needed}.{lacking[0]}: missing, which its {name} need; add it, or take out those")
    for task, settings in params.clean.items():
        has = any(isinstance(feature, Category) for feature in params.tasks[task].features.values())
        if has != (settings.unknown is not None):
            wanted = "drop, category or impute" if has else "null, for the task has no categorical features"
            raise ValueError(f"clean.{task}.unknown: must be {wanted}, is {settings.unknown}")
    for key, variant in params.prepare.items():
        if variant.kind == "table" and not params.tasks[variant.task].features:
            raise ValueError(f"prepare.{key}.kind: table, but tasks.{variant.task}.features is empty")
        if variant.kind == "images" and variant.equalise and params.tasks[variant.task].decoding.mixed:
            raise ValueError(f"prepare.{key}.equalise: true, but channels are slices or windows; set it to false")
    named = [("explain", task, label) for task, label in params.evaluate.explain.items()]
    named += [("decide", task, settings.of) for task, settings in params.evaluate.decide.items()]
    for section, task, label in named:
        if task not in params.tasks or label not in params.tasks[task].classes:
            raise ValueError(f"evaluate.{section}.{task}: {label!r} is no class of it")


def check_classes(params: "Params") -> None:
    """What recipes say of classes fits those of their task."""
    for name, recipe in params.models.items():
        task = params.tasks[recipe.task]
        try:
            _check_recipe(recipe, merged_classes(task.classes, recipe.merge))
        except SettingError as error:
            raise ValueError(f"models.{name}.{error}") from None
        segments = recipe.architecture == "resunet"
        if task.kind == ("classify" if segments else "segment"):
            raise ValueError(
                f"models.{name}.architecture: {recipe.architecture} does not fit a task of kind {task.kind}; "
                f"change tasks.{recipe.task}.kind, or take the model out"
            )


def _check_recipe(recipe: Recipe, classes: tuple[str, ...]) -> None:
    if isinstance(recipe.class_weights, dict) and set(recipe.class_weights) != set(classes):
        given, wanted = ", ".join(recipe.class_weights), ", ".join(classes)
        raise SettingError(f"class_weights: must name each class once: {wanted}; they name {given}")
    if recipe.only is not None and recipe.only not in classes:
        raise SettingError(f"only: must be one of {', '.join(classes)}, is {recipe.only!r}")


def check_names(params: "Params") -> None:
    """Every name that one section takes from another must be there."""
    if params.scale not in params.scales:
        raise ValueError(f"scale: {params.scale!r} is none of scales: {', '.join(params.scales)}")
    for section, named in (("image_size", params.image_size), ("generator_caps", params.generator_caps)):
        if other := sorted(params.scales.keys() ^ named):
            raise ValueError(f"{section}: must name each scale of params.yaml once; not in both is {', '.join(other)}")
    for section, recipes in (("models", params.models), ("fusions", params.fusions)):
        for name, recipe in recipes.items():
            if name in ("exploration", "probes", "generators"):
                raise ValueError(
                    f"{section}.{name}: so plots of the data, files of probes or of generators are called; rename it"
                )
            generator = getattr(recipe, "generator", None)
            if generator is not None and getattr(params.generators.get(generator), "task", None) != recipe.task:
                known = [k for k, v in params.generators.items() if v.task == recipe.task]
                raise ValueError(f"{section}.{name}.inputs: {generator!r} is none of generators: {', '.join(known)}")
            for key in recipe.inputs[: len(recipe.inputs) - (generator is not None)]:
                variant = params.prepare.get(key)
                if variant is None or variant.task != recipe.task:
                    known = [k for k, v in params.prepare.items() if v.task == recipe.task]
                    raise ValueError(f"{section}.{name}.inputs: {key!r} is none of prepare's: {', '.join(known)}")
    if shared := sorted(params.models.keys() & params.fusions):
        raise ValueError(f"models: {', '.join(shared)} is in fusions, too; make names unique")
    for task, settings in params.compare.items():
        known = [name for name, model in params.all_models.items() if model.task == task]
        for name in settings.models:
            if name not in known:
                raise ValueError(f"compare.{task}.models: {name!r} is no {task} model in models or fusions")
        if left := [name for name in known if name not in settings.models]:
            raise ValueError(
                f"compare.{task}.models: lacks {', '.join(left)}; add it, or take it out of models or fusions"
            )


def check_members(params: "Params") -> None:
    """A fusion's members are trained models of its task; those of a mean may be fusions that classify, too."""
    for name, fusion in params.fusions.items():
        where, kinds, pool = f"fusions.{name}", "", dict[str, Any](params.models)
        if isinstance(fusion, Mean):
            kinds = " or fusions"
            pool |= {other: found for other, found in params.fusions.items() if not isinstance(found, Mean)}
        if len(set(fusion.members)) < len(fusion.members):
            raise ValueError(f"{where}.members: each can be named once")
        for member in fusion.members:
            found = pool.get(member)
            if found is None or found.task != fusion.task:
                raise ValueError(f"{where}.members: {member!r} is no {fusion.task} model in models{kinds}")
            masks = isinstance(found, ResunetRecipe | Cascade)
            if not isinstance(fusion, Cascade) and (masks or getattr(found, "only", None)):
                raise ValueError(f"{where}.members: {member!r} must be a classifier of all rows: no masks, no `only`")
        folded = [member for member in fusion.members if getattr(pool[member], "folds", None) is not None]
        if folded and fusion.kind not in ("late", "stacked"):
            raise ValueError(
                f"{where}.members: models.{folded[0]}.folds must be null: all rows that such a fusion could be "
                "fitted on have trained its members; late and stacked ones are fitted out of fold"
            )
        if folded and len(folded) < len(fusion.members):
            raise ValueError(
                f"{where}.members: give all of them `folds`, or none: only {', '.join(folded)} has predictions "
                "out of fold"
            )
        keys = (key for member in fusion.members for key in pool[member].inputs if key not in params.generators)
        read = list(dict.fromkeys(keys))
        expected = read if len(read) > 1 else read * 2
        if list(fusion.inputs) != expected:
            raise ValueError(
                f"{where}.inputs: must be what its members read, each once, a single one twice: [{', '.join(expected)}]"
            )


def check_probes(params: "Params") -> None:
    """A probe's model is one that can be trained again without part of its images; the other one reads a table."""
    for task, probe in params.probes.items():
        where, name = f"probes.{task}", probe.models[0]
        for model in probe.models:
            found = params.models.get(model)
            if found is None or found.task != task:
                raise ValueError(f"{where}.models: {model!r} is no {task} model in models")
            if isinstance(found, ResunetRecipe) or found.only or found.folds or found.generator:
                raise ValueError(
                    f"{where}.models: {model!r} must be a classifier of all rows, without `only`, `folds`, generator"
                )
            if found.architecture == "mlp" if model == name else found.architecture != "mlp":
                raise ValueError(f"{where}.models: {model!r} must read {'images' if model == name else 'a table'}")
            if found.merge != params.models[name].merge:
                raise ValueError(f"{where}.models: {model!r} and {name!r} must have the same `merge`")
        if probe.inputs != params.models[name].inputs:
            raise ValueError(f"{where}.inputs: must be what {name} reads: {', '.join(params.models[name].inputs)}")
        if probe.box is None and params.tasks[task].kind == "classify":
            raise ValueError(f"{where}.box: null takes the region from masks, of which {task} has none; give a share")


def check_generators(params: "Params") -> None:
    """A generator reads images of its task, and its name is no other section's: what it draws lies beside theirs."""
    for name, generator in params.generators.items():
        key = generator.inputs[0]
        variant = params.prepare.get(key)
        if variant is None or variant.task != generator.task or variant.kind != "images":
            known = [k for k, v in params.prepare.items() if v.task == generator.task and v.kind == "images"]
            raise ValueError(f"generators.{name}.inputs: {key!r} is none of prepare's images: {', '.join(known)}")
        if name in params.prepare or name in params.all_models:
            raise ValueError(f"generators.{name}: is a name in prepare, models or fusions, too; make names unique")
