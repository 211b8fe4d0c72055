"""The README's table: the pipeline on real archives, in clones of this repository.

    python benchmarks/real_data.py --data DIR --weights DIR --work DIR [experiment ...]

`--data` holds ham10000/, lgg/ and covid_radiography/ as downloaded; `--weights` the ImageNet weights of two small
backbones, mobilenet_0.75_224_notop.weights.h5 and mobilenet_v2_0.35_224_notop.weights.h5. Each experiment is a clone
under `--work` with the changes of values that stand below, so that an interrupted one goes on where it stopped.
Prints the table of all experiments that `--work` holds. Sized for two cores without a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe.params import read, write


def skin(params: dict[str, Any], data: Path, weights: Path) -> str:
    """MobileNet 0.75 at 128 px, the head first, then all of it; metadata; late, stacked and early fusion."""
    params["tasks"]["skin"]["archive"] = str(data / "ham10000")
    keep(params, ["skin-tabular", "skin-image", "skin-late", "skin-stacked", "skin-early"])
    params["prepare"]["skin-28"]["sizes"] = [128]
    params["models"]["skin-image"] |= {
        "warmup": {"epochs": 10, "lr": 1e-3},
        "lr": 2e-5,
        "epochs": 4,
        "early_stopping": None,
    }
    network(params, "skin-image", "MobileNet", 0.75, weights / "mobilenet_0.75_224_notop.weights.h5", "all")
    return "skin"


def skin_by_image(params: dict[str, Any], data: Path, weights: Path) -> str:
    """The same, split by image as the originals did: a lesion's photographs on both sides."""
    params["split"]["skin"]["by"] = "image"
    return skin(params, data, weights)


def skin_phantom(params: dict[str, Any], data: Path, weights: Path) -> str:
    """The same on as many phantom lesions as HAM10000 has: what there is to learn in the phantoms."""
    skin(params, data, weights)
    params["tasks"]["skin"]["archive"] = "data/phantom/skin"
    params["phantom"]["skin"]["lesions"] = 7470
    return "skin"


def skin_best(params: dict[str, Any], data: Path, weights: Path) -> str:
    """What two cores train in less than two hours: all of MobileNet 0.75 at 96 px, augmented, classes weighted by the
    root of their rarity, the epoch of the best validation macro F1, outputs over all flips; then metadata beside it."""
    skin(params, data, weights)
    keep(params, ["skin-tabular", "skin-image", "skin-stacked", "skin-early"])
    params["prepare"]["skin-28"]["sizes"] = [96]
    params["evaluate"]["flips"] = ["horizontal", "vertical"]
    params["models"]["skin-image"] |= {
        "warmup": {"epochs": 2, "lr": 1e-3},
        "lr": 3e-4,
        "epochs": 12,
        "decay": {"after": 5, "rate": 0.4},
        "early_stopping": {"monitor": "val_macro_f1", "patience": 12, "min_delta": 0.0},
        "loss": {"name": "crossentropy", "label_smoothing": 0.05},
        "optimizer": {"name": "adamw", "weight_decay": 1e-4, "clip_norm": 1.0},
        "class_weights": {"akiec": 2.1, "bcc": 1.7, "bkl": 1.1, "df": 3.5, "mel": 1.1, "nv": 0.5, "vasc": 3.2},
        "augmentation": {
            "probability": 0.8, "horizontal_flip": True, "vertical_flip": True, "rotation": 45, "zoom": 0.15,
            "shift": 0.1, "shear": 0.0, "brightness": 0.1,
        },
    }  # fmt: skip
    params["models"]["skin-image"]["network"]["freeze_norm"] = False
    return "skin"


TURNED = {
    "probability": 0.8, "horizontal_flip": True, "vertical_flip": False, "rotation": 15, "zoom": 0.1,
    "shift": 0.05, "shear": 0.0, "brightness": 0.1,
}  # fmt: skip
SEGMENTER = {
    "lr": 1e-3,
    "optimizer": {"epsilon": 1e-7},
    "epochs": 50,
    "decay": {"after": 30, "rate": 0.1},
    "early_stopping": None,
    "batch": 8,
    "augmentation": TURNED,
}


def brain(params: dict[str, Any], data: Path, weights: Path) -> str:
    """System D at 96 px; 9, 3 and 4 patients. The segmenter may take ten times its recipe's epochs, so about the steps
    that those are on all 110 patients, and stops early."""
    params["tasks"]["brain"]["archive"] = str(data / "lgg")
    params["split"]["brain"] |= {"train": 0.5625, "val": 0.1875, "test": 0.25}
    params["prepare"]["brain-256"]["sizes"] = [96]
    stopping = {"monitor": "val_loss", "patience": 40, "min_delta": 0.0}
    params["models"]["brain-resunet"] |= {"epochs": 300, "decay": None, "early_stopping": stopping}
    return "brain"


def brain_best(params: dict[str, Any], data: Path, weights: Path) -> str:
    """The cascade of what two cores train in a quarter of an hour: 64 px, augmented, outputs over a flip."""
    brain(params, data, weights)
    params["prepare"]["brain-256"]["sizes"] = [64]
    params["evaluate"]["flips"] = ["horizontal"]
    params["models"]["brain-classifier"] |= {"augmentation": TURNED}
    params["models"]["brain-resunet"] |= SEGMENTER
    return "brain"


def brain_folds(params: dict[str, Any], data: Path, weights: Path) -> str:
    """The segmenter in four-fold cross-validation of 15 of the 16 patients, at 64 px and augmented. Validation is what
    each fold's model says of the patients that it was not trained on."""
    brain(params, data, weights)
    keep(params, ["brain-resunet"])
    params["split"]["brain"] |= {"train": 0.75, "val": 0.1875, "test": 0.0625}
    params["prepare"]["brain-256"]["sizes"] = [64]
    params["evaluate"]["flips"] = ["horizontal"]
    params["models"]["brain-resunet"] |= SEGMENTER | {"folds": 4}
    return "brain"


def chest(params: dict[str, Any], data: Path, weights: Path) -> str:
    """Three classes at 96 px: a frozen MobileNetV2 0.35, and the ConvNet from scratch with class weights."""
    params["tasks"]["chest"]["archive"] = str(data / "covid_radiography")
    keep(params, ["chest-mobilenetv2", "chest-convnet"])
    params["prepare"]["chest-256"]["sizes"] = [96]
    for name in ("chest-mobilenetv2", "chest-convnet"):
        params["models"][name]["merge"] = params["compare"]["chest"]["merge"]
    params["models"]["chest-convnet"]["epochs"] = 15
    params["models"]["chest-mobilenetv2"] |= {"augmentation": None, "lr": 1e-3}
    file = weights / "mobilenet_v2_0.35_224_notop.weights.h5"
    network(params, "chest-mobilenetv2", "MobileNetV2", 0.35, file, 0)
    return "chest"


EXPERIMENTS = {
    "skin": skin,
    "skin-by-image": skin_by_image,
    "skin-best": skin_best,
    "skin-phantom": skin_phantom,
    "brain": brain,
    "brain-best": brain_best,
    "brain-folds": brain_folds,
    "chest": chest,
}


def keep(params: dict[str, Any], names: list[str]) -> None:
    """Leave these alone of their task's models, and none of its generators."""
    task = params["models"][names[0]]["task"]
    for section in ("models", "fusions", "generators"):
        params[section] = {k: v for k, v in params[section].items() if v["task"] != task or k in names}
    params["compare"][task]["models"] = names


def network(params: dict[str, Any], name: str, backbone: str, alpha: float, weights: Path, unfreeze: Any) -> None:
    params["models"][name]["network"] |= {
        "backbone": backbone,
        "options": {"alpha": alpha},
        "weights": str(weights),
        "unfreeze": unfreeze,
        "freeze_norm": True,
        "head": [],
        "dropout": 0.2,
    }


def run(name: str, work: Path, data: Path, weights: Path) -> None:
    """Clone, change values, and `dvc repro` the task's comparison."""
    clone = work / name
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone)], check=True)
    params = read()
    params["scale"] = "full"
    task = EXPERIMENTS[name](params, data, weights)
    write(clone, params)
    start = time.perf_counter()
    subprocess.run(["dvc", "repro", f"register@{task}"], cwd=clone, env=environment(), check=True)
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def environment() -> dict[str, str]:
    """In which `python` and `dvc` are those of this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path}


def table(work: Path) -> str:
    """Markdown: a row a model, with interval, test rows and groups, and the time of its training."""
    rows = []
    for name in EXPERIMENTS:
        for path in sorted((work / name / "reports").glob("*/models/*.json")):
            report = json.loads(path.read_text())
            test = report["sets"]["test"]
            record = json.loads((work / name / "models" / report["model"] / "run.json").read_text())
            overall = test["overall"]
            metrics = (
                ("dice", "dice_median", "hd95") if "dice" in overall else ("macro_f1", "balanced_accuracy", "accuracy")
            )
            rows.append(
                {"experiment": name, "model": report["model"]}
                | {"figures": "; ".join(f"{metric} {interval(overall[metric])}" for metric in metrics)}
                | {"test rows (groups)": f"{test['rows']} ({test['groups']})"}
                | {"ZeroR macro F1": f"{test['zero_r']['macro_f1']:.3f}" if "zero_r" in test else ""}
                | {"training, s": round((record["ended"] - record["started"]) / 1000)}
            )
    return pd.DataFrame(rows).to_markdown(index=False)


def interval(estimate: dict[str, float]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("data", "weights", "work"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("experiments", nargs="*", choices=[*EXPERIMENTS, []], default=[])
    arguments = parser.parse_args()
    for name in arguments.experiments:
        run(name, arguments.work.resolve(), arguments.data.resolve(), arguments.weights.resolve())
    print(table(arguments.work))


if __name__ == "__main__":
    main()
