"""The rows of an archive's files, worked on in processes: Pillow and pydicom hold Python's lock for much of it."""

from collections.abc import Callable
from typing import TypeVar

import pandas as pd
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from medpipe.data import mask_files
from medpipe.data.archive import Archive, chunk_size

_T = TypeVar("_T")


def in_chunks(archive: Archive, rows: pd.DataFrame, work: Callable[[Archive, pd.DataFrame], _T], said: str) -> list[_T]:
    """What `work` makes of each chunk of the rows (with `path` and `mask_path`), in their order, given the archive of
    their files alone. A single chunk needs no process of its own. `said` is what the bar shows."""
    size = chunk_size(len(rows))
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    jobs = Parallel(n_jobs=max(1, min(cpu_count(), len(chunks))), return_as="generator")(
        delayed(work)(archive.part([*chunk["path"], *mask_files.all_of(chunk["mask_path"])]), chunk) for chunk in chunks
    )
    return list(tqdm(jobs, said, len(chunks), unit="chunk", disable=None))
