"""What a training says that it follows from."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from small_training import recipe

from medpipe.data.arrays import Arrays
from medpipe.training.assemble import Training
from medpipe.training.run import read_from, tracked


def test_other_weights_behind_the_same_path_are_another_training(root):
    for name in ("split", "chest-256"):
        (root / name).mkdir()
    (root / "split/rows.parquet").write_bytes(b"rows")
    np.save(root / "chest-256/inputs.npy", np.zeros((2, 8, 8, 3), np.uint8))
    meta = {"ids": ["a", "b"], "variant": {"kind": "images"}, "features": [], "digest": "5f3a"}
    (root / "chest-256/meta.json").write_text(json.dumps(meta))
    arrays, settings = Arrays(root / "chest-256"), recipe("chest-mobilenetv2", network={"weights": "any.weights.h5"})
    rows = np.arange(1)
    training = Training(settings, pd.DataFrame(), arrays, ("x", "y"), rows, np.eye(2), {}, rows, rows, None)
    seen = []
    for content in (b"one", b"two", b"one"):
        (root / "any.weights.h5").write_bytes(content)
        described = training.described(seed=1, deterministic=True)
        output, tags = Path("models/chest-mobilenetv2"), read_from(root / "split", [arrays])
        with suppress(KeyError), tracked(output, "chest", described, tags, "code") as (run, checkpoint):
            seen.append(checkpoint)
            raise KeyError
        logged = run.client.get_run(run.run_id).data.params
        assert logged["network.weights"] == "any.weights.h5"
        assert logged["weights.sha256"] == hashlib.sha256(content).hexdigest()
    assert seen[0] == seen[2] != seen[1]
    assert "weights" not in replace(training, settings=recipe("chest-mobilenetv2")).described(
        seed=1, deterministic=True
    )
