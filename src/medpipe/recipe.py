"""A model's settings: its recipe, under the caps of the chosen scale, under the knobs of a sweep."""

from medpipe.params import DenseFusion, Fusion, Generator, ImagesVariant, Params, Recipe, Sampling, Variant, validated
from medpipe.params.base import Frozen


def resolve(params: Params, name: str) -> Recipe:
    """The settings that train `models.<name>`: recipe, then `scales.<scale>`, then `train` where it is not null.

    Models that read a table, and heads of a backbone that is frozen as a whole, take the scale's `head_epochs` in
    place of their own, heads its `head_lr` too: an epoch of theirs costs next to nothing.
    """
    recipe = params.models[name]
    network = recipe.network.model_dump()
    changes: dict[str, object] = {}
    scale = params.scales[params.scale]
    if scale is not None:
        changes |= {"batch": min(recipe.batch, scale.batch), "precision": scale.precision}
        if not scale.augmentation:
            changes |= {"augmentation": None, "mixing": None}
        if recipe.warmup is not None:
            changes["warmup"] = recipe.warmup.model_dump() | {"epochs": min(recipe.warmup.epochs, scale.epochs)}
        if recipe.architecture == "backbone":
            if not scale.pretrained:
                network["weights"] = None
            layers = network["unfreeze"]
            if scale.unfreeze is not None:
                network["unfreeze"] = min(layers, scale.unfreeze) if isinstance(layers, int) else scale.unfreeze
        head = network.get("unfreeze") == 0
        epochs = recipe.epochs if recipe.architecture == "mlp" else min(recipe.epochs, scale.epochs)
        if scale.head_epochs is not None and (head or recipe.architecture == "mlp"):
            epochs = scale.head_epochs
        changes["epochs"] = epochs
        if scale.head_lr is not None and head:
            changes["lr"] = scale.head_lr
        changes["weights_from"] = _epoch(recipe.weights_from, recipe.epochs, epochs)
        if recipe.sampling is not None:
            changes["sampling"] = _scaled(recipe.sampling, recipe.epochs, epochs, scale.draws)
    knobs = params.train
    if knobs.dropout is not None and "dropout" in network:
        network["dropout"] = knobs.dropout
    for key in ("lr", "epochs", "batch"):
        if getattr(knobs, key) is not None:
            changes[key] = getattr(knobs, key)
    values = recipe.model_dump() | changes | {"network": network}
    return validated(type(recipe), values, f"scale {params.scale} and `train`", f"models.{name}")


def resolve_fusion(params: Params, name: str) -> Fusion:
    """The settings that make `fusions.<name>`: a trained head takes the scale's `head_epochs`, `head_lr` and batch."""
    fusion, scale = params.fusions[name], params.scales[params.scale]
    if scale is None or not isinstance(fusion, DenseFusion):
        return fusion
    changes = {"epochs": scale.head_epochs, "lr": scale.head_lr, "batch": min(fusion.batch, scale.batch)}
    return fusion.model_copy(update={key: value for key, value in changes.items() if value is not None})


def resolve_generator(params: Params, name: str) -> Generator:
    """The settings of `generators.<name>`, with no number over its kind's caps of the chosen scale, and their rates."""
    generator = params.generators[name]
    caps = getattr(params.generator_caps[params.scale], generator.kind)
    if caps is None:
        return generator
    most = caps.model_dump(exclude={"lr"})

    def capped(settings: Frozen) -> dict[str, object]:
        return {key: min(value, most[key]) for key, value in settings if key in most}

    network = generator.network.model_copy(update=capped(generator.network))
    return generator.model_copy(update=capped(generator) | {"network": network, "lr": caps.lr or generator.lr})


def pretrained(params: Params) -> bool:
    """Whether networks begin with weights that others trained, at the chosen scale."""
    scale = params.scales[params.scale]
    return scale is None or scale.pretrained


def _epoch(epoch: int, epochs: int, fewer: int) -> int:
    """The place among `fewer` epochs of an `epoch` of `epochs`."""
    return min(fewer, 1 + round((epoch - 1) * fewer / epochs))


def _scaled(sampling: Sampling, epochs: int, fewer: int, draws: float) -> dict[str, object]:
    """The schedule over `fewer` epochs, with a share of its draws; of stretches that fall together the last is left."""
    stretches = {
        _epoch(epoch, epochs, fewer): max(1, round(count * draws)) if isinstance(count, int) else count
        for epoch, count in sampling.schedule
    }
    return {"kind": sampling.kind, "schedule": tuple(stretches.items())}


def resolve_variant(params: Params, key: str) -> Variant:
    """`prepare.<key>`, with no side over the `image_size` of the chosen scale."""
    variant, most = params.prepare[key], params.image_size[params.scale]
    if most is None or not isinstance(variant, ImagesVariant):
        return variant
    return variant.model_copy(update={"sizes": tuple(min(side, most) for side in variant.sizes)})


def training_rows(params: Params) -> int | None:
    """The most rows that a model trains on at the chosen scale; None for all."""
    scale = params.scales[params.scale]
    return None if scale is None else scale.rows
