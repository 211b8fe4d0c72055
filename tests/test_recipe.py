"""Recipe, then scale, then knobs: later ones win, and `full` changes nothing."""

import pytest

from medpipe.errors import InputError
from medpipe.params import Knobs, Sampling, load
from medpipe.recipe import pretrained, resolve, resolve_generator, resolve_variant, training_rows


def at(scale: str, **knobs):
    settings = load()
    return settings.model_copy(update={"scale": scale, "train": Knobs(**(settings.train.model_dump() | knobs))})


def test_full_changes_nothing():
    params = at("full")
    assert all(resolve(params, name) == recipe for name, recipe in params.models.items())
    assert all(resolve_variant(params, key) == variant for key, variant in params.prepare.items())
    assert all(resolve_generator(params, name) == generator for name, generator in params.generators.items())
    assert training_rows(params) is None
    assert pretrained(params)


def test_laptop_caps_and_never_raises():
    params = at("laptop")
    cap = params.scales["laptop"]
    recipe = resolve(params, "skin-b4")
    assert (recipe.epochs, recipe.lr) == (cap.head_epochs, cap.head_lr)  # a head on a frozen backbone
    assert resolve(params, "brain-resunet").epochs == min(cap.epochs, params.models["brain-resunet"].epochs)
    assert resolve(params, "brain-resunet").lr == params.models["brain-resunet"].lr
    assert recipe.warmup.epochs == params.models["skin-b4"].warmup.epochs < cap.epochs
    assert recipe.network.unfreeze == cap.unfreeze
    assert resolve(params, "chest-densenet169").network.unfreeze == cap.unfreeze
    assert recipe.network.weights is None
    assert recipe.precision == "float32"
    assert recipe.augmentation is None
    assert recipe.mixing is None
    assert resolve_variant(params, "skin-28").sizes == (28, params.image_size["laptop"])
    assert resolve(params, "skin-tabular").epochs == cap.head_epochs
    assert resolve(params, "skin-tabular").lr == params.models["skin-tabular"].lr
    caps = params.generator_caps["laptop"].sagan
    generator, published = resolve_generator(params, "skin-sagan"), params.generators["skin-sagan"]
    assert (generator.steps, generator.network.channels) == (caps.steps, caps.channels)
    assert (generator.lr, generator.network.noise) == (caps.lr, published.network.noise)
    assert resolve_generator(at("study"), "skin-sagan").lr == published.lr
    caps, generator = params.generator_caps["laptop"].edm, resolve_generator(params, "skin-edm")
    assert (generator.heun, generator.lr) == (caps.heun, caps.lr)
    assert (generator.network.channels, generator.network.blocks) == (caps.channels, caps.blocks)
    assert generator.network.multipliers == params.generators["skin-edm"].network.multipliers
    assert not pretrained(params)


def test_without_epochs_for_heads_the_recipes_own_are_capped():
    params = at("study")
    assert resolve(params, "skin-tabular").epochs == params.models["skin-tabular"].epochs
    assert resolve(params, "chest-mobilenetv2").epochs == params.scales["study"].epochs
    assert resolve(params, "chest-mobilenetv2").lr == params.models["chest-mobilenetv2"].lr


def test_knobs_win_over_the_scale_and_hold_for_every_model():
    params = at("laptop", lr=2e-5, epochs=7, batch=3, dropout=0.25)
    for name in params.models:
        recipe = resolve(params, name)
        assert (recipe.lr, recipe.epochs, recipe.batch) == (2e-5, 7, 3)
    assert resolve(params, "skin-b4").network.dropout == 0.25
    assert resolve(params, "skin-b4").warmup.lr == params.models["skin-b4"].warmup.lr


def test_a_schedule_is_cut_alike_in_epochs_and_draws():
    params = at("study")
    published = ((1, 35000), (3, 25000), (5, 15000), (7, 12000), (9, None))
    changed = params.models["skin-b0"].model_copy(update={"sampling": Sampling(kind="balanced", schedule=published)})
    half = params.scales["study"].model_copy(update={"epochs": 5, "draws": 0.5})
    params = params.model_copy(update={"models": {"skin-b0": changed}, "scales": {"study": half}})
    recipe = resolve(params, "skin-b0")
    assert recipe.epochs == 5
    assert recipe.sampling.schedule == ((1, 17500), (2, 12500), (3, 7500), (4, 6000), (5, None))
    # Of stretches that fall together the last one is left.
    fewer = params.model_copy(update={"scales": {"study": half.model_copy(update={"epochs": 2})}})
    assert resolve(fewer, "skin-b0").sampling.schedule == ((1, 12500), (2, None))


def test_a_knob_that_does_not_fit_is_refused_by_the_recipes_key():
    with pytest.raises(InputError, match="models.skin-b4.batch: must be at least 2 where mixing is on, is 1"):
        resolve(at("full", batch=1), "skin-b4")
