"""Add a task by its archive: `python stages/new.py retina /data/retina`. No stage of DVC's."""

import sys
from pathlib import Path

from medpipe import params
from medpipe.data.source import Archive
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import write


def main(task: str, data: str) -> None:
    max_pixels = params.load().ingest.max_pixels
    archive = Archive(Path(data).expanduser().resolve())
    found = plan(task, archive, look(archive), max_pixels)
    added = write(Path(), found.sections)
    print("\n".join(found.report))
    if added:
        print(f"added: {', '.join(f'{section}.{task} of {params.FILE_OF[section]}' for section in added)}")
    else:
        print(f"{task} is there already, and all stays as it is")
    print(f"next: `dvc repro register@{task}`, then `make ui`; reports/{task}/exploration.html shows the data")


if __name__ == "__main__":
    main(*sys.argv[1:])
