"""Put a member's model and predictions where its ensemble reads them: `python stages/vote.py skin-mean-b4`.

A stage for each line of `votes` in params.yaml: DVC cannot make a list of members an ensemble's dependencies, but their
folder is one.
"""

import shutil
import sys
from pathlib import Path

from medpipe import atomic
from medpipe.params import load


def main(name: str) -> None:
    vote = load().votes[name]
    with atomic.folder(Path("votes") / vote.ensemble / vote.member) as folder:
        # Contents alone: what DVC links from its cache is read-only.
        shutil.copytree(Path("models") / vote.member, folder / "model", copy_function=shutil.copyfile)
        shutil.copyfile(Path("predictions") / vote.task / f"{vote.member}.parquet", folder / "predictions.parquet")
        shutil.copyfile(Path("reports") / vote.task / "models" / f"{vote.member}.json", folder / "report.json")


if __name__ == "__main__":
    main(sys.argv[1])
