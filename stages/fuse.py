"""Make one model of trained ones, as `fusions` in params.yaml says: `python stages/fuse.py skin-late`."""

import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

import own_code  # noqa: F401
from medpipe import backend, provenance, recipe, tracking
from medpipe.data.arrays import Dealt, load_task, targets
from medpipe.errors import InputError
from medpipe.evaluation.mixture import choose_weights
from medpipe.evaluation.predictions import temperature_of
from medpipe.fingerprint import fingerprint
from medpipe.models import cascade, delivery, network, threshold
from medpipe.models.ensemble import combine
from medpipe.models.temperature import untemper
from medpipe.params import Cascade, DenseFusion, Mean, StackedFusion, load
from medpipe.training.fuse import fuse
from medpipe.training.run import deliver, read_from, tracked


def main(name: str) -> None:
    params = load()
    settings, seed = recipe.resolve_fusion(params, name), params.seed
    backend.start(seed, "float32", params.deterministic)
    split = Path("data/split") / settings.task
    rows, arrays = load_task(split, [Path("data/prepared") / key for key in settings.inputs])
    parts = [delivery.read_recipe(Path("models") / member) for member in settings.members]
    records = {part.name: tracking.read(Path("models") / part.name) for part in parts}
    for said, differing in provenance.grouped({member: record["tags"] for member, record in records.items()}).items():
        others = ", ".join(differing)
        print(f"WARNING: {name}: not made by what trained its members {others}: {said}", file=sys.stderr, flush=True)
    first = parts[0]
    for part in parts:
        if part.classes != first.classes:
            known = (f"{m.name} knows {', '.join(m.classes)}" for m in (first, part))
            raise InputError(f"fusions.{name}.members: {'; '.join(known)}; train them with the same `merge`")
    labels = targets(rows, Dealt.read(split).classes, first.settings["merge"])
    train, val = (np.flatnonzero(rows["set"] == part) for part in ("train", "val"))

    folder = Path("predictions") / settings.task
    tables = {part.name: pd.read_parquet(folder / f"{part.name}.parquet") for part in parts}
    weights = [1 / len(parts)] * len(parts)
    if isinstance(settings, Mean) and settings.weights == "validation":
        weights = choose_weights(tables, first.classes)

    members = {part.name: part.settings for part in parts}
    if isinstance(settings, Mean):
        members = {part.name: {"weight": weight} | part.settings for part, weight in zip(parts, weights, strict=True)}
    described = settings.model_dump(mode="json") | {"seed": seed, "backend": backend.name()}
    out_of_fold = [found for member in settings.members if (found := delivery.OutOfFold.read(Path("models") / member))]
    if isinstance(settings, DenseFusion | StackedFusion):
        described["fitted"] = "out of fold" if out_of_fold else "in sample"
    described |= {"deterministic": params.deterministic, "merge": first.settings["merge"], "members": members}
    code = fingerprint(Path(__file__).resolve())
    tags = read_from(split, arrays) | {f"member.{member}": record["key"] for member, record in records.items()}
    for member in records:  # its temperature, and what weights and thresholds are chosen on
        tags[f"predictions.{member}"] = sha256((folder / f"{member}.parquet").read_bytes()).hexdigest()[:16]
    with tracked(Path("models") / name, settings.task, described, tags, code) as begun:
        if begun is None:
            return
        run, checkpoint = begun
        made = replace(first, name=name, threshold=None, settings=described)
        head, history, judged = None, pd.DataFrame(), None
        models = [] if isinstance(settings, Mean) else [network.read(Path("models") / part.name)[1] for part in parts]
        if isinstance(settings, Mean):
            made = replace(combine(parts), name=name, settings=described)
        elif isinstance(settings, Cascade):
            cascade.compose(*models)  # which refuses members that do not fit each other
            table = tables[first.name].set_index("id", drop=False).loc[rows["id"].iloc[val]]
            p = untemper(
                table[[f"p_{c}" for c in first.classes]].to_numpy(), temperature_of(first.name, table, first.classes)
            )
            chosen = threshold.choose(p[:, 1], labels[val], settings.sensitivity)
            made = replace(made, kind="cascade", threshold=chosen)
        else:
            read = {part.name: part.inputs for part in arrays}
            head, history, judged = fuse(
                models, [read[part.inputs[0]] for part in parts], labels, len(first.classes), train, val, settings,
                out_of_fold, seed=seed, checkpoint=checkpoint, on_epoch=run.log_epoch,
            )  # fmt: skip
            both = {key: getattr(first, key) + getattr(parts[1], key) for key in ("inputs", "variants", "features")}
            made = replace(made, **both)
        deliver(run, made, head, history, judged)


if __name__ == "__main__":
    main(sys.argv[1])
