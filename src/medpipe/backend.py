"""What only one backend of Keras can do: determinism, memory growth. All else uses `keras` alone."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

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

with _quiet():
    import keras


def name() -> str:
    """`tensorflow` or `jax`, as KERAS_BACKEND chose."""
    return keras.backend.backend()


def start(seed: int, precision: str) -> None:
    """Seeds everything, makes operations deterministic and sets the dtype policy of the models built from now on.

    What a user's keras.json says of images, floats and epsilon is set aside: it changes figures or breaks networks.

    To be called before anything is computed: JAX reads its flags when it first touches a device. `precision` is
    float32, mixed_float16 or mixed_bfloat16. Raises InputError where KERAS_BACKEND is neither tensorflow nor jax.
    """
    match name():
        case "tensorflow":
            import tensorflow as tf

            with _quiet():
                gpus = tf.config.list_physical_devices("GPU")
            for gpu in gpus:
                if not tf.config.experimental.get_memory_growth(gpu):
                    tf.config.experimental.set_memory_growth(gpu, True)
            tf.config.experimental.enable_op_determinism()
        case "jax":
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            flags = os.environ.get("XLA_FLAGS", "")
            if "xla_gpu_deterministic_ops" not in flags:
                os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        case other:
            raise InputError(f"KERAS_BACKEND: {other!r} is not provided for; set it to tensorflow or jax")
    keras.utils.set_random_seed(seed)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy(precision)
