"""Run on JAX: every recipe of params.yaml is trained for a step of which JAX derives shapes and types alone.

That is where it refuses what does not fit, as float16 beside float32. To compile the gradient of each network takes
minutes; what is compiled and computed here is a small backbone in half precision.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from keras.src.backend.jax import trainer
from test_every_recipe import SHIPPED, at_step, check, step


def derived(function, **options):
    """In place of jax.jit: zeros of what `function` would give."""

    def run(*inputs):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *inputs))

    return run


def main(folder: Path) -> None:
    compiled, trainer.jit = trainer.jit, derived
    for name in SHIPPED.models:
        recipe = at_step(SHIPPED, name)
        model, _, history = step(recipe, folder / name)
        assert model.dtype_policy.name == recipe.precision
        assert np.isfinite(history["loss"]).all()
        print(name, recipe.precision, flush=True)
    trainer.jit = compiled
    recipe = at_step(SHIPPED, "skin-b4")
    small = {"backbone": "MobileNet", "options": {"alpha": 0.25}, "unfreeze": "all"}
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=small)})
    check(recipe, *step(recipe, folder / "small"))
    print("small", recipe.precision)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
