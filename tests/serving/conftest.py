"""Packages of small models, and cases for them. Made once: more than one file asks them, and packing takes seconds."""

import shutil
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from declared import PLAIN
from PIL import Image
from small_cases import early
from small_packages import (
    CLASSES,
    FEATURES,
    HEALTH,
    IMAGES,
    PIXELS,
    SERVED,
    SLICES,
    TABLE,
    convolutional,
    evaluated,
    fused,
    images,
    segmenting,
)

from medpipe import backend, fingerprint
from medpipe.models import cascade
from medpipe.models.decision import Rule
from medpipe.models.temperature import temper
from medpipe.serving import package
from medpipe.serving.predictor import Predictor


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Raw cases: 40 JPEGs of 70 x 50 pixels, more than a batch, and metadata."""
    folder = tmp_path_factory.mktemp("cases")
    generator = np.random.default_rng(0)
    paths = [str(folder / f"{i}.jpg") for i in range(40)]
    for path in paths:
        coarse = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        coarse.resize((70, 50), Image.Resampling.BICUBIC).save(path)
    table = pd.DataFrame({"image": paths, "age": generator.integers(0, 86, len(paths)).astype(float)})
    table["sex"] = generator.choice(["male", "female", "unknown"], len(paths))
    table["localization"] = generator.choice(["back", "lower extremity"], len(paths))
    table.loc[3, "age"] = np.nan
    table.loc[4, ["sex", "localization"]] = None
    return table


@pytest.fixture(scope="session")
def models(cases):
    """Models, and what they are delivered with."""
    backend.start(0, "float32")
    classifier, segmenter = convolutional(1, "sigmoid"), segmenting()
    ranked = np.sort(evaluated(classifier, images(cases, SLICES["sizes"]))["output"][:, 0])
    threshold = float(ranked[19:21].mean())  # half of the cases are above
    brain = {"task": "brain", "classes": HEALTH, "variants": (SLICES,), "features": ((),)}
    skin = {"task": "skin", "classes": CLASSES}
    return {
        "skin-image": (convolutional(len(CLASSES), "softmax"), skin | {"variants": (IMAGES,), "features": ((),)}),
        "skin-early": (fused(), skin | {"variants": (TABLE, IMAGES), "features": (FEATURES, ())}),
        "brain-classifier": (classifier, brain),
        "brain-resunet": (segmenter, brain | {"kind": "segmenter"}),
        "brain-cascade": (
            cascade.compose(classifier, segmenter),
            brain | {"kind": "cascade", "threshold": threshold},
        ),
    }


@pytest.fixture(scope="session")
def rule(models, cases):
    """Thresholds in the middle of what skin-image gives, so that cases go either way."""
    p = temper(evaluated(models["skin-image"][0], images(cases, IMAGES["sizes"]))["output"], SERVED["temperature"])
    middle = np.median(p, axis=0)
    return Rule("mel", float(middle[0]), float(np.quantile(p.max(axis=1), 0.3)), tuple(middle.tolist()))


@pytest.fixture(scope="session")
def packages(models, rule, deliver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    deliveries = tmp_path_factory.mktemp("models")
    for name, (model, about) in models.items():
        served = SERVED | {"rule": asdict(rule) if name == "skin-image" else None}
        package.save(deliver(deliveries / name, model, **about), folder / name, PIXELS, served)
        if name == "skin-image":
            with another_version(tmp_path_factory.mktemp("source")):
                package.save(deliveries / name, folder / "skin-other", PIXELS, served)
    shutil.rmtree(deliveries)  # a package is whole
    return folder


@pytest.fixture(scope="session")
def delivered(deliver, tmp_path_factory):
    """The folder of a classifier of images and metadata."""
    return early(deliver, tmp_path_factory.mktemp("models") / "skin-early")


@pytest.fixture(scope="session")
def reader(delivered):
    return Predictor(delivered, max_pixels=1000, **PLAIN)


@contextmanager
def another_version(folder):
    """Within, what is packed comes from a copy of this package whose predictor gives other labels."""
    shutil.copytree(fingerprint.SOURCE / "medpipe", folder / "medpipe", ignore=shutil.ignore_patterns("__pycache__"))
    predictor = folder / "medpipe/serving/predictor.py"
    predictor.write_text(predictor.read_text().replace("label=[classes[i]", "label=['other ' + classes[i]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "SOURCE", folder)
        yield
