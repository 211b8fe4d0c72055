"""What a scale takes from the recipes of models that were evaluated: pixels, rows, weights that others trained."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from medpipe.models.delivery import Delivery
from medpipe.params import Params


def trained(delivered: Delivery) -> dict[str, Any]:
    """For the model's report, of all networks in it: `sides`, pixels of their images; `rows` that trained them;
    `weights` that backbones began with, None for a random start."""
    networks = [*_networks(delivered.settings)]
    return {
        "sides": sorted({one["sizes"][-1] for one in delivered.variants if one["kind"] == "images"}),
        "rows": sorted({settings["rows"] for settings in networks if "rows" in settings}),
        "weights": [one["network"]["weights"] for one in networks if "weights" in one.get("network", {})],
    }


def reduced(params: Params, models: Iterable[Mapping[str, Any]], split: Mapping[str, Any]) -> str:
    """In what models were less than their recipes: `laptop: 48 px, 1,200 of 4,936 rows, no ImageNet weights`, or ''.

    `models`: what `trained` said of each; `split`: split.json.
    """
    scale, side = params.scales[params.scale], params.image_size[params.scale]
    models, whole = [*models], sum(row["train"] for row in split["rows"].values())
    found = [f"{side} px"] if any(side in one["sides"] for one in models) else []
    if scale is not None and any(scale.rows in one["rows"] for one in models) and scale.rows != whole:
        found.append(f"{scale.rows:,} of {whole:,} rows")
    if scale is not None and not scale.pretrained and any(None in one["weights"] for one in models):
        found.append("no ImageNet weights")
    return f"{params.scale}: {', '.join(found)}" if found else ""


def _networks(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "members" not in settings:
        yield settings
    for member in settings.get("members", {}).values():
        yield from _networks(member)
