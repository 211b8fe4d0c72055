"""What only one backend of Keras can do: determinism, memory growth, GPUs, gradients. All else uses `keras` alone."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any

from medpipe import gpus, provenance, quick
from medpipe.errors import InputError

# TensorFlow's C++ code says this of the machine before its own level of logging holds: no setting keeps it back.
_NOISE = re.compile(r"WARNING: All log messages before absl|I\d{4} |E\d{4} .*failed call to cuInit")


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, _NOISE on the standard error is dropped; all else comes at the end."""
    sys.stderr.flush()
    error = os.dup(2)
    with TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(error, 2)
            os.close(error)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines(keepends=True):
                if not _NOISE.match(line):
                    sys.stderr.write(line)


# TensorFlow reads it while it is imported, and Keras imports TensorFlow: 2 leaves errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# TensorFlow Lite looks for JAX, Keras for scikit-learn and Matplotlib. Both do without, and start sooner.
_jax = provenance.chosen().get("backend", "").startswith("jax")
with _quiet(), quick.imports("matplotlib", "sklearn", *([] if _jax else ["jax"])):
    import keras


def name() -> str:
    """`tensorflow` or `jax`, as KERAS_BACKEND chose."""
    return keras.backend.backend()


def start(seed: int, precision: str, deterministic: bool = True, tf32: bool = False) -> None:
    """Holds a GPU if there is one (gpus.hold), readies the backend, and resets all as `reset` does.

    Says on standard error where the backend leaves that GPU unused.

    With `deterministic` the same seed gives the same bits on a GPU too; TensorFlow then does without XLA, and on a CPU
    computes in one thread, unless TF_NUM_INTRAOP_THREADS says otherwise: how a sum is split decides its last bits. To
    be called before anything is computed: JAX reads its flags, and TensorFlow its threads, when they first touch a
    device. Raises InputError where KERAS_BACKEND is neither tensorflow nor jax.

    NVIDIA's GPUs since Ampere round the operands of float32 products and convolutions to TF32's 10 bits unless told
    otherwise. That moves a deep model's probabilities from those that are served by more than evaluate allows. Only a
    process that does nothing but train asks for `tf32`. It holds for the whole process: TensorFlow keeps the algorithm
    that it has once picked for a convolution of some shape, even if the setting changes later.
    """
    held = gpus.hold()
    match name():
        case "tensorflow":
            import tensorflow as tf

            if deterministic:
                os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
            with _quiet():
                devices = tf.config.list_physical_devices("GPU")
            for gpu in devices:
                if not tf.config.experimental.get_memory_growth(gpu):
                    tf.config.experimental.set_memory_growth(gpu, True)
            if deterministic:
                tf.config.experimental.enable_op_determinism()
            if not tf32:
                tf.config.experimental.enable_tensor_float_32_execution(False)
            used = bool(devices)
        case "jax":
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            flags = os.environ.get("XLA_FLAGS", "")
            if deterministic and "xla_gpu_deterministic_ops" not in flags:
                os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
            import jax

            if not tf32:
                jax.config.update("jax_default_matmul_precision", "highest")  # of convolutions too
            used = jax.default_backend() == "gpu"
        case other:
            raise InputError(f"KERAS_BACKEND: {other!r} is not provided for; set it to tensorflow or jax")
    if held and not used:
        print(
            f"WARNING: this machine has a GPU that {name()} does not use, so this runs on the CPU; "
            "`make setup GPU=1` installs what it needs; to mean it, set CUDA_VISIBLE_DEVICES to nothing",
            file=sys.stderr,
        )
    reset(seed, precision)


def reset(seed: int, precision: str) -> None:
    """Seeds everything and sets the dtype policy of the models built from now on, as in a new process.

    `precision` is float32, mixed_float16 or mixed_bfloat16. What a user's keras.json says of images, floats and epsilon
    is set aside: it changes figures or breaks networks.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy(precision)


def gradient(function: Callable[[Any], Any], x: Any) -> Any:
    """Of a function of one tensor to a number, at the tensor `x`; of x's shape. Computed at once, not compiled."""
    if name() == "jax":
        import jax

        return jax.grad(function)(x)
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def compiled(step: Callable[..., Any], state: Sequence[keras.Variable]) -> Callable[..., Any]:
    """`step`, from arrays to arrays, compiled. `state`: every variable that it reads or changes."""
    if name() == "tensorflow":
        import tensorflow as tf

        return tf.function(step)
    import jax

    @jax.jit
    def pure(values: list[Any], inputs: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        with keras.StatelessScope(zip(state, values, strict=True)) as scope:
            found = step(*inputs)
        return found, [scope.get_current_value(variable) for variable in state]

    def run(*inputs: Any) -> Any:
        found, values = pure([variable.value for variable in state], inputs)
        for variable, value in zip(state, values, strict=True):
            variable.assign(value)
        return found

    return run


def gradients(
    loss: Callable[[], tuple[Any, Any]], variables: Sequence[keras.Variable], state: Sequence[keras.Variable]
) -> tuple[Any, Any, list[Any]]:
    """What `loss` gives, a scalar and more, and the scalar's gradients by `variables`. To be called within `compiled`,
    with the same `state`.
    """
    if name() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            value, more = loss()
        return value, more, tape.gradient(value, [variable.value for variable in variables])
    import jax

    own = {id(variable) for variable in variables}
    others = [variable for variable in state if id(variable) not in own]

    def pure(values: list[Any]) -> tuple[Any, tuple[Any, list[Any]]]:
        known = [*zip(variables, values, strict=True), *((variable, variable.value) for variable in others)]
        with keras.StatelessScope(known) as scope:
            value, more = loss()
        return value, (more, [scope.get_current_value(variable) for variable in others])

    whole = jax.value_and_grad(pure, has_aux=True)
    (value, (more, changed)), found = whole([variable.value for variable in variables])
    for variable, new in zip(others, changed, strict=True):
        variable.assign(new)
    return value, more, found
