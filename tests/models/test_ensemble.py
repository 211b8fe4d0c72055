"""What an ensemble is delivered as, and what is served of it."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_models import SIDE, SMALL, pixels

from medpipe.errors import InputError
from medpipe.evaluation.mixture import average
from medpipe.evaluation.tables import of_classes
from medpipe.models.build import build
from medpipe.models.delivery import Delivery
from medpipe.models.ensemble import combine
from medpipe.models.mean import mean
from medpipe.models.predict import predict
from medpipe.serving.predictor import Predictor

IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
TABLE = {"task": "skin", "kind": "table"}
CLASSES = ("mel", "nv", "vasc")
DELIVERED = Delivery("image", "skin", "classifier", CLASSES, ("skin-32",), (IMAGES,), ((),), {}, None, {"merge": {}})


def test_an_ensemble_is_delivered_with_each_of_its_inputs_once():
    fused = replace(
        DELIVERED, name="early", inputs=("skin-table", "skin-32"), variants=(TABLE, IMAGES), features=(("age",), ())
    )
    made = combine("mean", [DELIVERED, fused])
    assert (made.name, made.inputs) == ("mean", ("skin-32", "skin-table"))
    assert (made.variants, made.features) == ((IMAGES, TABLE), ((), ("age",)))
    with pytest.raises(InputError, match="ensembles.mean: image knows mel, nv, vasc; b4 knows nv, mel, vasc; train"):
        combine("mean", [DELIVERED, replace(DELIVERED, name="b4", classes=("nv", "mel", "vasc"))])


@pytest.mark.parametrize("flips", [(), ("horizontal", "vertical")])
def test_what_is_served_is_the_mean_of_the_tables(tmp_path, flips):
    images = pixels(4).astype("uint8")
    rows = pd.DataFrame({"id": list("abcd"), "set": "test", "group": list("abcd"), "label": "nv"})
    members = [build(SMALL["convnet"], (SIDE, SIDE, 3), 3, {}) for _ in range(2)]
    tables = {}
    for i, model in enumerate(members):
        p = predict(model, [images], np.arange(4), flips=flips)["output"]
        tables[str(i)] = of_classes(rows, rows["label"].tolist(), CLASSES, p)
    weights = [0.3, 0.7]
    expected = average(tables, CLASSES, weights)
    combine("mean", [DELIVERED] * 2).write(tmp_path, mean(members, ["skin-32"] * 2, weights))
    served = Predictor(tmp_path, max_pixels=SIDE * SIDE, flips=flips).predict(pd.DataFrame({"image": map(png, images)}))
    np.testing.assert_allclose(served[list(CLASSES)], expected[[f"p_{name}" for name in CLASSES]], atol=1e-5)


def png(image):
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
