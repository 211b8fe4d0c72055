"""The columns of a served model: what it reads of a case, and what it answers."""

from medpipe.models import ood
from medpipe.models.delivery import Delivery

ERROR = "error"  # why a row has no answer


def read(delivery: Delivery) -> list[str]:
    """`image`, unless the model reads none, and the features of its metadata."""
    image = ["image"] * any(variant["kind"] == "images" for variant in delivery.variants)
    return [*image, *dict.fromkeys(name for variant in delivery.variants for name in variant.get("features", ()))]


def answered(delivery: Delivery, decides: bool, scored: bool) -> dict[str, str]:
    """The columns in their order, each with MLflow's name of its type; any may be null, `error` is where all is well.

    - decides: whether a classifier gives decisions and sets
    - scored: whether the model has an out-of-distribution score
    """
    if delivery.kind == "classifier":
        columns = dict.fromkeys(delivery.classes, "double")
        columns |= dict.fromkeys(("label", *(("decision", "set") if decides else ())), "string")
    else:
        shares = [f"share_{name}" for name in delivery.marks] if len(delivery.marks) > 1 else []
        columns = {delivery.classes[1]: "boolean", **dict.fromkeys(("share", *shares), "double"), "mask": "binary"}
        if delivery.kind == "cascade":
            columns[f"p_{delivery.classes[1]}"] = "double"
    return columns | ({ood.COLUMN: "double"} if scored else {}) | {ERROR: "string"}
