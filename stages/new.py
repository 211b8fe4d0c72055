"""Add a task to params.yaml by its archive: `python stages/new.py retina /data/retina`. No stage of DVC's."""

import sys
from pathlib import Path

from medpipe import params
from medpipe.data.source import Archive
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import write


def main(task: str, data: str) -> None:
    path = Path("params.yaml")
    max_pixels = params.load(path).ingest.max_pixels
    archive = Archive(Path(data).expanduser().resolve())
    found = plan(task, archive, look(archive), max_pixels)
    added = write(path, found.sections)
    print("\n".join(found.report))
    if added:
        print(f"added to params.yaml: {', '.join(f'{section}.{task}' for section in added)}")
    else:
        print(f"params.yaml has {task} already, and stays as it is")
    print(f"next: `dvc repro register@{task}`, then `make ui`; reports/{task}/exploration.html shows the data")


if __name__ == "__main__":
    main(*sys.argv[1:])
