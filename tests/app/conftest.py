import json
import shutil
from dataclasses import asdict

import pytest
from tiny_models import COLUMNS, PIXELS, RULE, TABLE, VARIANT, cascade, classifier, known

from medpipe.models import delivery, ood
from medpipe.models.delivery import Delivery
from medpipe.serving import package


@pytest.fixture(scope="session")
def registry(empty_store, tmp_path_factory):
    """A folder with a registry: two versions of a classifier, of which the older is the champion, and a cascade."""
    from medpipe.store import database

    root = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store / "mlflow.db", root)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=database(root / "mlflow.db"))
    kinds = {"skin-classifier": ("classifier", ("mel", "nv")), "brain-cascade": ("cascade", ("healthy", "tumour"))}

    def add(registered, network, made, **about):
        kind, classes = kinds[registered]
        folder = root / network
        folder.mkdir()
        recipe = Delivery(network, registered.split("-")[0], kind, classes, (), stats={}, settings={}, **about)
        (folder / delivery.RECIPE).write_text(json.dumps(asdict(recipe)))
        (folder / delivery.GRAPH).write_bytes(made)
        if kind == "classifier":
            ood.write(known(), folder / ood.FILE)
        served = {"flips": [], "temperature": 1.0, "rule": RULE if kind == "classifier" else None}
        package.save(folder, root / f"{network}-package", PIXELS, served)
        source = str(root / f"{network}-package")
        card = f"# {network}: model card"
        client.create_model_version(registered, source, tags={"model": network}, description=card)

    for registered in kinds:
        client.create_registered_model(registered)
    skin = {"variants": (TABLE, VARIANT), "features": (COLUMNS, ()), "threshold": None}
    add("skin-classifier", "skin-early", classifier(bias=0.0), **skin)
    add("skin-classifier", "skin-late", classifier(bias=1.0), **skin)
    brain = VARIANT | {"task": "brain", "mask_values": {"tumour": [255]}}
    add("brain-cascade", "brain", cascade(), variants=(brain,), features=((),), threshold=0.5)
    client.set_registered_model_alias("skin-classifier", "champion", "1")
    return root
