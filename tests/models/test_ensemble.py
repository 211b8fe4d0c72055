"""What an ensemble is delivered as, and what is served of it."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, PLAIN
from PIL import Image
from small_models import SIDE, SMALL, pixels

from medpipe.models.build import build
from medpipe.models.delivery import GRAPH, Delivery
from medpipe.models.ensemble import combine
from medpipe.models.export import export
from medpipe.models.mean import mean
from medpipe.models.predict import predict
from medpipe.serving.predictor import Predictor

IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
IMAGES |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
TABLE = {"task": "skin", "kind": "table"}
CLASSES = ("mel", "nv", "vasc")
DELIVERED = Delivery("image", "skin", "classifier", CLASSES, ("skin-32",), (IMAGES,), ((),), {}, None, {"merge": {}})


def test_an_ensemble_is_delivered_with_each_of_its_inputs_once():
    fused = replace(
        DELIVERED, name="early", inputs=("skin-table", "skin-32"), variants=(TABLE, IMAGES), features=(("age",), ())
    )
    made = combine([DELIVERED, fused])
    assert made.inputs == ("skin-32", "skin-table")
    assert (made.variants, made.features) == ((IMAGES, TABLE), ((), ("age",)))


@pytest.mark.parametrize("flips", [(), ("horizontal", "vertical")])
def test_what_is_served_is_the_mean_of_the_tables(tmp_path, flips):
    images = pixels(4).astype("uint8")
    members = [build(SMALL["convnet"], (SIDE, SIDE, 3), 3, {}) for _ in range(2)]
    weights = [0.3, 0.7]
    outputs = [predict(model, [images], np.arange(4), flips=flips)["output"] for model in members]
    expected = sum(weight * output for weight, output in zip(weights, outputs, strict=True))
    model = mean(members, ["skin-32"] * 2, weights)
    combine([DELIVERED] * 2).write(tmp_path, model)
    (tmp_path / GRAPH).write_bytes(export(model))
    reader = Predictor(tmp_path, max_pixels=SIDE * SIDE, **PLAIN | {"flips": flips})
    served = reader.predict(pd.DataFrame({"image": map(png, images)}))
    np.testing.assert_allclose(served[list(CLASSES)], expected, atol=1e-5)


def png(image):
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
