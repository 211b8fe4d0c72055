import math

import keras
import numpy as np
import pytest
from keras import ops
from small_training import network, recipe

from medpipe import params
from medpipe.training.plan import Phase, build_optimizer, plan


def test_the_rate_falls_from_the_epoch_after_n():
    phase = Phase("main", 40, 1e-3, params.Decay(after=20, rate=0.1))
    rates = [phase.rate(epoch) for epoch in range(40)]
    assert rates[:20] == [1e-3] * 20
    np.testing.assert_allclose(rates[20:], [1e-3 * math.exp(-0.1 * k) for k in range(1, 21)], rtol=1e-12)
    assert Phase("main", 40, 1e-3).rate(39) == 1e-3


def test_phases_of_the_recipes():
    warmup, main = plan(recipe("skin-b4")).phases
    assert (warmup.name, warmup.epochs, warmup.lr, warmup.unfreeze) == ("warmup", 10, 2e-4, 0)
    assert (main.name, main.epochs, main.lr, main.unfreeze) == ("main", 40, 2e-5, 300)
    [main] = plan(recipe("brain-resunet")).phases
    assert main.unfreeze is None
    assert main.decay == params.Decay(after=20, rate=0.1)


def test_a_fusion_head_is_trained_by_adam_on_cross_entropy():
    fusion = params.DenseFusion(
        task="skin", kind="late", members=("a", "b"), inputs=("c", "d"), head=(), lr=1e-3, epochs=20, batch=32,
        early_stopping=None,
    )  # fmt: skip
    steps = plan(fusion)
    assert (steps.optimizer.name, steps.loss.name, steps.batch) == ("adam", "crossentropy", 32)
    assert [(phase.epochs, phase.lr) for phase in steps.phases] == [(20, 1e-3)]


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_biases_and_norms(name):
    model = network()
    for variable in model.trainable_variables:
        variable.assign(ops.full(variable.shape, 2.0))
    settings = params.Optimizer(name=name, weight_decay=0.5, clip_norm=None, epsilon=1e-7)
    optimizer = build_optimizer(settings, 0.1, model.trainable_variables)
    optimizer.build(model.trainable_variables)
    optimizer.apply_gradients([(ops.zeros_like(variable), variable) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        expected = 2.0 * (1 - 0.1 * 0.5) if variable.name == "kernel" else 2.0
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, rtol=1e-6, err_msg=variable.path)


@pytest.mark.usefixtures("_seeded")
def test_gradients_are_clipped_by_their_common_norm():
    variables = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    settings = params.Optimizer(name="sgd", weight_decay=0.0, clip_norm=1.0, epsilon=1e-7)
    optimizer = build_optimizer(settings, 1.0, variables)
    optimizer.build(variables)
    optimizer.apply_gradients(
        zip([ops.convert_to_tensor([3.0, 0.0]), ops.convert_to_tensor([4.0])], variables, strict=True)
    )
    np.testing.assert_allclose(
        [*ops.convert_to_numpy(variables[0]), *ops.convert_to_numpy(variables[1])], [-0.6, 0, -0.8], rtol=1e-6
    )
