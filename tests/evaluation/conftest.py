"""Prediction tables of made-up models, deterministic by seed, and comparisons of them."""

import numpy as np
import pandas as pd
import pytest
from comparisons import BESIDE, BRAIN, GROUPED, SKILLS, SKIN, classifier_report
from declared import evaluate_settings

from medpipe.evaluation.compare import compare
from medpipe.evaluation.report import cascade_report, classification_report, segmentation_report
from medpipe.models.decision import Rule
from medpipe.params import Compare, Evaluate

SHARES = (0.04, 0.07, 0.12, 0.03, 0.13, 0.57, 0.04)
LEAKING = {"by": "image", "grouping": "", "leak": {"val": 0, "test": 7, "external": 0}}
RULE = Rule("tumour", threshold=0.4, refer=0.6, least=(0.3, 0.3))


@pytest.fixture
def settings() -> Evaluate:
    return evaluate_settings(
        200,
        explain={"skin": "mel"},
        operating_points=(0.5, 0.05),
        decide={"skin": {"of": "mel", "rule": "youden", "error": 0.2, "coverage": 0.9}},
    )


@pytest.fixture
def classifier_table():
    return make_classifier_table


@pytest.fixture
def mask_table():
    return make_mask_table


@pytest.fixture
def skin(classifier_table, settings):
    """Three classifiers' tables, and their comparison."""
    tables = {name: classifier_table(skill, i) for i, (name, skill) in enumerate(SKILLS.items())}
    reports = {name: classifier_report() for name in tables}
    wanted = Compare(models=tuple(tables), metric="macro_f1", margin=0.02, merge={})
    return tables, {"task": "skin"} | BESIDE | compare(tables, reports, GROUPED, wanted, settings, 1)


@pytest.fixture
def brain(mask_table, settings):
    """The tables of a segmenter, a cascade and a classifier, and their comparison."""
    cascade = mask_table(1, 2, validation=4)
    classifier = cascade.drop(columns=["tp", "fp", "fn", "hd95"]).assign(p_healthy=1 - cascade["p_tumour"])
    tables = {
        "brain-resunet": mask_table(1.2, 3, detect=False, only="tumour", validation=4),
        "brain-cascade": cascade,
        "brain-classifier": classifier,
    }
    reports = {
        "brain-resunet": segmentation_report("brain-resunet", tables["brain-resunet"], BRAIN, settings, 1)[1],
        "brain-cascade": cascade_report("brain-cascade", cascade, BRAIN, 0.3, {"healthy": 9}, settings, 1)[1],
        "brain-classifier": classification_report(
            "brain-classifier", classifier, BRAIN, {"healthy": 9}, RULE, settings, 1
        )[1],
    }
    for name, report in reports.items():
        report |= {"mask_pixels": [64, 64], "only": "tumour" if name == "brain-resunet" else None}
    wanted = Compare(models=tuple(tables), metric="dice", margin=0.02, merge={})
    return tables, {"task": "brain"} | BESIDE | compare(tables, reports, LEAKING, wanted, settings, 1)


def make_classifier_table(skill=1.0, seed=0, rows=400, classes=SKIN, shares=SHARES, sets=("test", "val")):
    """Truth, lesions and subgroups are the same for every model; `skill` and `seed` make its probabilities."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    truth = np.concatenate([np.arange(len(classes)), fixed.choice(len(classes), rows - len(classes), p=shares)])
    table = pd.DataFrame(
        {
            "id": [f"ISIC_{i:07d}" for i in range(rows)],
            "set": [sets[0] if i < 0.8 * rows else sets[-1] for i in range(rows)],
            "group": [f"HAM_{i // 1.4:.0f}_{truth[i]}" for i in range(rows)],
            "label": np.array(classes)[truth],
        }
    )
    scores = rng.normal(size=(rows, len(classes)))
    scores[np.arange(rows), truth] += 2 * skill
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    table[[f"p_{c}" for c in classes]] = chances.astype(np.float32)
    table["temperature"] = 1.0
    table["sex"] = np.array(["female", "male", "unknown"])[fixed.choice(3, rows, p=[0.47, 0.5, 0.03])]
    table["age_band"] = np.array(["0-29", "30-44", "45-59", "60-74", "75+"])[fixed.integers(5, size=rows)]
    return table


def make_mask_table(skill=1.0, seed=0, patients=12, slices=10, detect=True, only=None, validation=0):
    """Slices of 12 patients, about half of them with a tumour; a slice that is not detected has an empty mask.

    The last patients, as many as `validation` says, are of the validation set.
    """
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    n = patients * slices
    size = np.where(fixed.random(n) < 0.5, fixed.integers(200, 2000, n), 0)
    quality = np.clip(0.6 + 0.3 * skill + rng.normal(0, 0.1, n), 0, 1) * (rng.random(n) < 0.92 if detect else 1)
    tp = (size * quality).astype(int)
    fp = np.where(size > 0, (tp * rng.random(n) * 0.3).astype(int), (rng.random(n) < 0.1) * 50)
    table = pd.DataFrame(
        {
            "id": [f"TCGA_DU_{i // slices:04d}_{i % slices}" for i in range(n)],
            "set": np.where(np.arange(n) // slices < patients - validation, "test", "val"),
            "group": [f"TCGA_DU_{i // slices:04d}" for i in range(n)],
            "label": np.where(size > 0, *BRAIN[::-1]),
            "p_tumour": np.clip(np.where(size > 0, 0.8, 0.2) + rng.normal(0, 0.1, n), 0, 1),
            "tp": tp,
            "fp": fp,
            "fn": size - tp,
            "hd95": np.where((tp > 0) & (size > 0), 2 + 10 * rng.random(n), np.nan),
            "site": np.array(["DU", "CS", "HT"])[np.arange(n) // slices % 3],
        }
    )
    table = table.assign(p_healthy=1 - table["p_tumour"], temperature=1.0)
    if only:
        table = table[table["label"] == only].drop(columns=["p_tumour", "p_healthy", "temperature"])
        table = table.reset_index(drop=True)
    return table
