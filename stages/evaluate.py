"""Evaluate one delivered model: `python stages/evaluate.py skin-b4`. The only stage that reads test rows."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import backend, tracking
from medpipe.data.arrays import Dealt, load_task
from medpipe.evaluation.evaluate import evaluate
from medpipe.evaluation.write import write
from medpipe.models import delivery, network
from medpipe.params import load


def main(name: str) -> None:
    params = load()
    backend.start(params.evaluate.seed, "float32")
    folder = Path("models") / name
    delivered, model = network.read(folder)
    task = delivered.task
    split = Path("data/split") / task
    rows, arrays = load_task(split, [Path("data/prepared") / key for key in delivered.inputs])
    out_of_fold = delivery.OutOfFold.read(folder)
    found = evaluate(
        delivered, model, rows, arrays, Dealt.read(split), params.evaluate, params.evaluate.seed, out_of_fold
    )
    print(write(found, tracking.reopen(folder), params.evaluate.max_pixels))


if __name__ == "__main__":
    main(sys.argv[1])
