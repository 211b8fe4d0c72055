"""Three archives read twice: by the reader made for them, and declared like anyone's own data, with the same recipe.

    python benchmarks/own_data.py --data DIR --work DIR

`--data` holds ham10000/, lgg/ and covid_radiography/ as downloaded. A clone of this repository under `--work` gets a
twin of each task, whose reader is `table`, `pairs` or `folders`, and a model of each. Prints whether both readers find
the same images, deal them to the same sets, and give the same predictions. Minutes on two cores.
"""

import argparse
import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medpipe.params import read, write

CHEST = ["COVID", "Normal", "Viral Pneumonia"]  # the copy of the archive that this was written for has these
TWINS: dict[str, dict[str, Any]] = {
    "skin": {
        "kind": "table", "file": "HAM10000_metadata.csv", "images": "", "image": "image_id", "mask": None,
        "label": "dx", "codes": {}, "source": None, "set": None, "columns": {}, "group": {"column": "lesion_id"},
        "ungrouped": "refuse",
    },
    "brain": {
        "kind": "pairs", "images": "kaggle_3m/(.+)", "masks": "kaggle_3m/(.+)_mask", "codes": {},
        "group": {"pattern": r"(TCGA_[^_/]+_[^_/]+)_\d{8}_\d+\.tif$"}, "ungrouped": "refuse",
    },
    "chest": {"kind": "folders", "codes": {}, "sets": "ignore", "group": None, "ungrouped": "refuse"},
}  # fmt: skip
FOLDERS = {"skin": "ham10000", "brain": "lgg", "chest": "covid_radiography"}
MODELS = {"skin": "skin-tabular", "brain": "brain-resunet", "chest": "chest-convnet"}


def change(params: dict[str, Any], data: Path) -> None:
    """Each task with one model, and its twin."""
    params["tasks"]["chest"]["classes"] = CHEST
    params["compare"]["chest"]["merge"] = {}
    params["fusions"], params["registry"], params["generators"], params["probes"] = {}, {}, {}, {}
    params["evaluate"] |= {"explain": {}, "decide": {}}
    params["models"] = {name: params["models"][name] for name in MODELS.values()}
    params["models"]["brain-resunet"]["epochs"] = 3
    params["split"]["brain"] |= {"train": 0.5625, "val": 0.1875, "test": 0.25}
    used = {params["models"][name]["inputs"][0] for name in MODELS.values()}
    params["prepare"] = {name: variant for name, variant in params["prepare"].items() if name in used}
    for task, reader in TWINS.items():
        params["tasks"][task]["archive"] = str(data / FOLDERS[task])
        params["compare"][task]["models"] = [MODELS[task]]
        twin, model = f"{task}-twin", copy.deepcopy(params["models"][MODELS[task]])
        for section in ("tasks", "clean", "split", "compare"):
            params[section][twin] = copy.deepcopy(params[section][task])
        params["tasks"][twin] |= {"reader": reader, "external": None}
        if task == "brain":
            params["tasks"][twin][
                "subgroups"
            ] = []  # the site is in the file's name, which the layout's own reader knows
        inputs = model["inputs"][0]
        params["prepare"][f"{inputs}-twin"] = params["prepare"][inputs] | {"task": twin}
        params["models"][f"{MODELS[task]}-twin"] = model | {"task": twin, "inputs": [f"{inputs}-twin"]}
        params["compare"][twin]["models"] = [f"{MODELS[task]}-twin"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    chosen = parser.parse_args()
    clone = chosen.work / "own_data"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone)], check=True)
    params = read()
    change(params, chosen.data.resolve())
    write(clone, params)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    targets = [f"compare@{task}{end}" for task in TWINS for end in ("", "-twin")]
    subprocess.run(["dvc", "repro", *targets], cwd=clone, env=environment, check=True)
    for task, reader in TWINS.items():
        own, twin = (pd.read_parquet(clone / f"data/split/{name}/rows.parquet") for name in (task, f"{task}-twin"))
        twin["id"] = twin["id"].str.rpartition("/")[2]
        columns = ["id", "label", "group", "set"]
        alike = own[columns].equals(twin[columns])
        left, right = (
            pd.read_parquet(clone / f"predictions/{name}/{model}.parquet").select_dtypes("number")
            for name, model in ((task, MODELS[task]), (f"{task}-twin", f"{MODELS[task]}-twin"))
        )
        same = left.shape == right.shape and np.array_equal(left, right, equal_nan=True)
        print(
            f"{task}: {len(own)} images of {own['group'].nunique()} groups; by {reader['kind']}: rows and sets "
            f"{'the same' if alike else 'differ'}, predictions of {MODELS[task]} {'the same' if same else 'differ'}"
        )


if __name__ == "__main__":
    main()
