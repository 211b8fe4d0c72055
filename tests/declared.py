"""The tasks that data.yaml declares."""

from pathlib import Path

from medpipe import params
from medpipe.data.ingest import Ingested, build_manifest

EIGHT_BIT = params.Decoding(window=None, frames="refuse", axis=None)
TASKS = params.load(Path(__file__).parents[1]).tasks


def ingest_archive(archive: Path | str, task: str, settings: params.Ingest) -> Ingested:
    """What ingest makes of a task's archive that lies elsewhere."""
    return build_manifest(task, TASKS[task].model_copy(update={"archive": str(archive)}), settings)
