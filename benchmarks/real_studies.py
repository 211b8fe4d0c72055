"""The studies `imbalance`, its part `doping`, and `chest` on real archives, in clones of this repository.

    python benchmarks/real_studies.py --data DIR --weights DIR --work DIR [--repeat ROW,...] [--seeds N,...] STUDY

`--data`, `--weights`: as for real_data.py. A clone under `--work` has the changes that stand below; called again it
goes on where it stopped, and with `--repeat` trains those rows with further seeds. For two cores without a GPU.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from real_data import chest, environment, keep

from medpipe.params import read, read_file, write


def imbalance(params: dict[str, Any], study: dict[str, Any], data: Path, weights: Path) -> None:
    """MobileNet 0.75 in place of EfficientNet-B0, under the scale `study`: one budget for all rows. Its features
    compare the generator's images.
    """
    params["tasks"]["skin"]["archive"] = str(data / "ham10000")
    keep(params, ["skin-b0"])
    backbone = {
        "backbone": "MobileNet",
        "options": {"alpha": 0.75},
        "weights": str(weights / "mobilenet_0.75_224_notop.weights.h5"),
    }
    params["models"]["skin-b0"]["network"] |= backbone
    params["generators"]["skin-sagan"]["features"] = backbone | {"side": 224}
    params["generator_caps"]["study"]["sagan"]["steps"] = STEPS


def doping(params: dict[str, Any], study: dict[str, Any], data: Path, weights: Path) -> None:
    """Of the study `imbalance` the rows with generated images, their controls and the baseline."""
    imbalance(params, study, data, weights)
    params["scale"] = "study"  # so that `dvc repro measure@skin-sagan` in the clone makes what the experiments take
    study["rows"] = {
        name: row for name, row in study["rows"].items() if name == "imagenet" or name.startswith(("filled-", "gan-"))
    }


def chest_losses(params: dict[str, Any], study: dict[str, Any], data: Path, weights: Path) -> None:
    """A frozen MobileNetV2 0.35 and the ConvNet at 96 px over three classes: plain, with class weights, focal loss."""
    chest(params, data, weights)
    params["image_size"]["study"] = 96
    params["scales"]["study"]["epochs"] = 10
    focal = {"name": "focal", "gamma": 2.0, "alpha": 1.0}
    study["rows"] = {name: row for name, row in study["rows"].items() if row["model"] in params["models"]}
    study["rows"] |= {
        "mobilenetv2-focal": {"model": "chest-mobilenetv2", "published": {}, "set": {"loss": focal}},
        "convnet": {"model": "chest-convnet", "published": {}, "set": {"class_weights": None}},
    }


STUDIES = {"imbalance": ("imbalance", imbalance), "doping": ("imbalance", doping), "chest": ("chest", chest_losses)}
STEPS = 1500  # of the generator: what two cores allow


def main(name: str, data: Path, weights: Path, work: Path, repeats: dict[str, list[int]]) -> None:
    clone = work / name
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone)], check=True)
    params, studies = read(), read_file(Path("studies.yaml"))
    of, change = STUDIES[name]
    study = studies[of]
    change(params, study, data, weights)
    study |= {"scale": "study", "repeats": repeats}
    write(clone, params)
    (clone / "studies.yaml").write_text(yaml.safe_dump({name: study}, sort_keys=False))
    command = [sys.executable, "stages/study.py", name, "--jobs", "1"]
    subprocess.run(command, cwd=clone, env=environment(), check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("data", "weights", "work"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--repeat", default="")
    parser.add_argument("--seeds", default="43,44")
    parser.add_argument("name", choices=[*STUDIES])
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    places = (path.resolve() for path in (given.data, given.weights, given.work))
    main(given.name, *places, {row: seeds for row in given.repeat.split(",") if row})
