"""What pages and cards say where the scale took something from the recipes."""

import pytest
from comparisons import GROUPED, TRAINED

from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.page import html
from medpipe.evaluation.scaled import reduced, trained
from medpipe.models.delivery import Delivery
from medpipe.params import load

SAID = "laptop: 48 px, 1,200 of 4,936 rows, no ImageNet weights"


@pytest.mark.parametrize(
    ("scale", "model", "said"),
    [
        ("laptop", TRAINED, SAID),
        ("laptop", {"sides": [28], "rows": [600], "weights": []}, ""),
        ("laptop", {"sides": [], "rows": [1200], "weights": []}, "laptop: 1,200 of 4,936 rows"),
        ("study", {"sides": [64], "rows": [4936], "weights": ["imagenet"]}, "study: 64 px"),
        ("full", {"sides": [224], "rows": [4936], "weights": [None]}, ""),
    ],
)
def test_what_differs_from_the_recipe_is_said(scale, model, said):
    params = load().model_copy(update={"scale": scale})
    assert reduced(params, [model, {"sides": [], "rows": [], "weights": []}], GROUPED) == said


def test_it_is_told_by_what_was_delivered_of_a_fusion_by_its_members():
    image = {"rows": 1200, "network": {"backbone": "EfficientNetB0", "weights": None}}
    settings = {"kind": "mean", "members": {"a": image, "b": {"kind": "late", "members": {"c": {"rows": 1200}}}}}
    variants = ({"kind": "images", "sizes": [28, 48]}, {"kind": "table"})
    about = {"classes": (), "inputs": (), "features": (), "stats": {}, "threshold": None}
    found = trained(Delivery("m", "skin", "classifier", variants=variants, settings=settings, **about))
    assert found == TRAINED


def test_it_stands_before_any_verdict(skin):
    comparison = skin[1] | {"reduced": SAID}
    for text, verdict in ((html(comparison, []), "Which model?"), (markdown(comparison), "Which model?")):
        assert 0 < text.index(SAID) < text.index(verdict)
    assert "Not as the recipes say" not in html(skin[1], []) + markdown(skin[1])
