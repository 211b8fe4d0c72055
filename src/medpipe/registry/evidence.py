"""What the files of a run say of its best model: what card and checklist are written from, and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.errors import InputError
from medpipe.evaluation.scaled import reduced
from medpipe.models.delivery import Delivery, read_recipe
from medpipe.params import Declaration, Params, Registered
from medpipe.registry.gate import subgroups
from medpipe.tracking import read as read_record

PERSON = "to be stated by a person"
PHANTOM = "data/phantom/"  # where the archives are drawings of this repository's
FEW = 20  # groups of a class, below which a limit is said


@dataclass(frozen=True)
class Evidence:
    """`report`, `comparison`, `split`: the JSON files; `ingest`: ingest.txt; `probes`: of the comparison, or None."""

    delivered: Delivery
    record: dict[str, Any]
    report: dict[str, Any]
    comparison: dict[str, Any]
    split: dict[str, Any]
    ingest: str
    probes: dict[str, Any] | None
    declared: Declaration
    registered: Registered
    scale: str
    reduced: str  # what the scale changed of its recipe, '' for nothing
    unknown: str | None  # what clean did with unknown values

    @property
    def phantom(self) -> bool:
        return self.declared.archive.startswith(PHANTOM)

    @property
    def use(self) -> str:
        if self.phantom and self.registered.card.use is None:
            return "none: it was trained on drawings, which show that the machinery runs, and nothing about medicine"
        return self.registered.card.use or PERSON

    @property
    def data_licence(self) -> str:
        if self.phantom and self.registered.card.licence is None:
            return "Apache 2.0, as this repository, which drew them"
        return self.registered.card.licence or PERSON

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256, first 16 digits, of the split's rows and of the prepared data."""
        tags = self.record["tags"]
        names = sorted(tag for tag in tags if tag == "medpipe.split" or tag.startswith("medpipe.data."))
        return {name.removeprefix("medpipe.").removeprefix("data."): tags[name] for name in names}

    @property
    def versions(self) -> str:
        tags, prefix = self.record["tags"], "medpipe.version."
        return ", ".join(f"{tag.removeprefix(prefix)} {tags[tag]}" for tag in sorted(tags) if tag.startswith(prefix))

    @property
    def commit(self) -> str:
        tags = self.record["tags"]
        changed = ", with changes that are not committed" if tags.get("medpipe.dirty") == "true" else ""
        return tags.get("mlflow.source.git.commit", "unknown") + changed

    @property
    def parts(self) -> list[tuple[str, dict[str, Any]]]:
        """The trained networks in it, by name, with their settings."""
        return list(_parts(self.delivered.name, self.delivered.settings))

    @property
    def starts(self) -> dict[str, str]:
        """By network, what its weights were before training."""
        return {name: _start(settings.get("network", {})) for name, settings in self.parts}

    @property
    def test(self) -> dict[str, Any]:
        return self.report["sets"]["test"]

    @property
    def classification(self) -> dict[str, Any] | None:
        """What its report says of classes on test rows; None of a segmenter."""
        return self.test.get("detection", self.test) if self.report["kind"] != "masks" else None

    @property
    def calibration(self) -> dict[str, Any] | None:
        return self.classification.get("calibration") if self.classification else None

    @property
    def totals(self) -> dict[str, int]:
        """Images of each set."""
        sets = ("train", "val", "test", "external")
        found = {name: sum(row[name] for row in self.split["rows"].values()) for name in sets}
        return {name: rows for name, rows in found.items() if rows}

    @property
    def leak(self) -> str:
        """The images of each set that share a lesion, patient or near duplicate with training; "" where none does."""
        return ", ".join(f"{rows} {name} images" for name, rows in self.split["leak"].items() if rows)

    @property
    def limits(self) -> list[str]:
        """What the figures leave open, as far as files can tell."""
        found = ["It was tested on the archive that trained it" + (
            ", and on an external source." if "external" in self.report["sets"] else "; no external figures are there."
        )]  # fmt: skip
        if self.phantom:
            found.append("The data are drawings.")
        if self.leak:
            found.append(f"The split leaks: {self.leak} share lesions or patients with training; figures are inflated.")
        if said := self.split["grouping"]:
            found.append(f"{said[0].upper()}{said[1:]}.")
        few = [
            f"{name} ({row['groups']})"
            for name, row in (self.classification or {}).get("per_class", {}).items()
            if row["groups"] < FEW
        ]
        if few:
            found.append(f"Classes with fewer than {FEW} lesions or patients in test: {', '.join(few)}.")
        small = [
            f"{' '.join(name)} ({subgroup['groups']})"
            for name, subgroup in subgroups(self.report).items()
            if subgroup["small"]
        ]
        if small:
            found.append(f"Subgroups too small to be judged: {', '.join(small)}.")
        if self.report.get("fitted") == "in sample":
            found.append("Its head was fitted on what its members say of rows that trained them.")
        if self.reduced:
            found.append(f"It was not trained as its recipe says: {self.reduced}.")
        return found


def read(root: Path, task: str, name: str, params: Params) -> Evidence:
    """Of the repository `root`, model `name`. Raises InputError where the model's folder is not whole, and where
    evaluation, comparison or split are not those of the model that lies there.
    """
    reports, model = root / "reports" / task, root / "models" / name
    record = read_record(model)
    files = (reports / "models" / f"{name}.json", reports / "comparison.json", reports / "split.json")
    report, comparison, split = (json.loads(file.read_text()) for file in files)
    made_of = report["run"], comparison["runs"].get(name), split["digest"]
    wanted = record["key"], record["key"], record["tags"]["medpipe.split"]
    for file, found, expected in zip(files, made_of, wanted, strict=True):
        if found != expected:
            raise InputError(f"{file}: it is of {found}, models/{name} of {expected}; run `dvc repro register@{task}`")
    return Evidence(
        delivered=read_recipe(model),
        record=record,
        report=report,
        comparison=comparison,
        split=split,
        ingest=(reports / "ingest.txt").read_text().strip(),
        probes=comparison["probes"],
        declared=params.tasks[task],
        registered=params.registry[task],
        scale=params.scale,
        reduced=reduced(params, [report["trained"]], split),
        unknown=params.clean[task].unknown,
    )


def _parts(name: str, settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "members" not in settings:
        yield name, settings
    else:
        for member, own in settings["members"].items():
            yield from _parts(member, own)


def _start(network: dict[str, Any]) -> str:
    weights = network.get("weights")
    if weights is None:
        return "a random start; Apache 2.0, as this repository"
    if weights == "imagenet":
        return f"{network['backbone']} pretrained on ImageNet, as keras.applications distributes it; licence {PERSON}"
    return f"{weights}; licence {PERSON}"
