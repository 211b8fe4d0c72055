"""What comparisons of made-up models are made of."""

from declared import TASKS

SKIN = TASKS["skin"].classes
BRAIN = ("healthy", "tumour")
TRAINED = {"sides": [48], "rows": [1200], "weights": [None]}
GROUPED = {
    "rows": {"nv": {"train": 4000}, "mel": {"train": 936}},
    "by": "group",
    "grouping": "",
    "leak": {"val": 0, "test": 0, "external": 0},
}
SILENT = {
    "run": "r",
    "trained": TRAINED,
    "sets": {"test": {"subgroups": {}}},
    "shift": None,
    "ood": None,
}  # of the populations
BESIDE = {
    "runs": {},
    "probes": None,
    "gate": [],
    "published": {},
    "reduced": "",
}  # what stands beside a comparison on its page
SKILLS = {"skin-tabular": 0.2, "skin-b4": 0.9, "skin-v2m": 1.4}


def classifier_report(classes=SKIN, training=None):
    training = training or {"nv": 50, "mel": 10}
    return {"kind": "classification", "classes": list(classes), "training": training, "only": None} | SILENT
