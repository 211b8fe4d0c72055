"""Make the arrays that a model reads: `python stages/prepare.py skin-480`."""

import sys
from pathlib import Path

import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.data.prepare import prepare_images, prepare_table
from medpipe.params import ImagesVariant, PreparedImages, load
from medpipe.recipe import resolve_variant


def main(name: str) -> None:
    params = load()
    variant = resolve_variant(params, name)
    task = params.tasks[variant.task]
    table = pd.read_parquet(Path("data/clean") / f"{variant.task}.parquet")
    with atomic.folder(Path("data/prepared") / name) as folder:
        if isinstance(variant, ImagesVariant):
            prepared = PreparedImages(**variant.model_dump(), decoding=task.decoding, mask_values=task.marks)
            prepare_images(table, task.archive, prepared, folder, params.ingest.max_pixels)
        else:
            prepare_table(table, task.features, variant, folder)
    print(f"{name}: {len(table)} rows")


if __name__ == "__main__":
    main(sys.argv[1])
