import httpx
import numpy as np
import pytest
from small_service import CLASSES, COLUMNS, PIXELS, SIDE, TABLE, VARIANT, free_port, picture, running, uri

from medpipe.service.settings import Settings


@pytest.fixture(scope="session")
def package(deliver, tmp_path_factory):
    """A function that packages a classifier of images and metadata with an out-of-distribution score.

    `bias` favours the first class, by which two versions are told apart.
    """
    import keras
    from keras import layers

    from medpipe.evaluation.ood import fit
    from medpipe.models import delivery, ood
    from medpipe.models.embedding import observed
    from medpipe.models.export import export
    from medpipe.models.predict import predict
    from medpipe.serving import package

    def save(name, bias):
        keras.utils.set_random_seed(0)
        table, image = keras.Input((len(COLUMNS),), name="table"), keras.Input((SIDE, SIDE, 3), name="image")
        known = keras.ops.where(keras.ops.isnan(table), np.float32(0.5), table)
        seen = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
        both = layers.Concatenate(name="embedding")([seen, layers.Rescaling(0.01)(known)])
        model = keras.Model([table, image], layers.Dense(2, activation="softmax")(both))
        model.layers[-1].set_weights([model.layers[-1].get_weights()[0], np.array([bias, 0.0])])
        about = {"classes": CLASSES, "variants": (TABLE, VARIANT), "features": (COLUMNS, ())}
        folder = deliver(tmp_path_factory.mktemp("models") / name, model, **about)
        rng = np.random.default_rng(0)
        rows = [rng.random((60, 4)).astype(np.float32) * 50, rng.integers(0, 256, (60, SIDE, SIDE, 3)).astype(np.uint8)]
        embedding = predict(observed(model), rows, np.arange(60))["embedding"]
        (folder / delivery.GRAPH).write_bytes(export(observed(model)))
        ood.write(fit(embedding[:40], np.arange(40) % 2, embedding[40:]), folder / ood.FILE)
        packed = tmp_path_factory.mktemp("packages") / name
        package.save(folder, packed, PIXELS, {"flips": [], "temperature": 1.0, "rule": None})
        return packed

    return save


@pytest.fixture(scope="session")
def model(package):
    return package("skin-early", bias=0.0)


@pytest.fixture(scope="session")
def settings(model):
    return Settings(
        str(model),
        port=free_port(),
        max_rows=8,
        max_body=2**20,
        header_seconds=0.3,
        body_seconds=0.5,
        max_pixels=PIXELS,
    )


@pytest.fixture(scope="session")
def service(settings):
    with running(settings) as server:
        yield server


@pytest.fixture(scope="session")
def client(service, settings):
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=20) as client:
        yield client


@pytest.fixture
def row():
    return {"image": uri(picture(200)), "age": 45, "sex": "male"}
