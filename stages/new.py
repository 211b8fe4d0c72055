"""Add a task by its archive: `python stages/new.py retina /data/retina`. No stage of DVC's."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import params
from medpipe.data.archive import Archive
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import write


def main(task: str, data: str) -> None:
    values = params.load()
    archive = Archive(Path(data).expanduser().resolve())
    found = plan(task, archive, look(archive), values.ingest.max_pixels)
    added = write(Path(), found.sections)
    print("\n".join(found.report))
    if added:
        print(f"added: {', '.join(f'{section}.{task} of {params.FILE_OF[section]}' for section in added)}")
    else:
        print(f"{task} is there already, and all stays as it is; to have it written anew, take its sections out")
    if (most := values.image_size[values.scale]) is not None:
        print(
            f"scale: `{values.scale}` of params.yaml caps epochs, and images at {most} pixels; `full`, for a GPU, "
            "trains as the recipes say"
        )
    print(f"next: `dvc repro explore@{task} register@{task}`, then `make ui`")
    print(f"reports/{task}/exploration.html shows the data, reports/{task}/comparison.html the models")


if __name__ == "__main__":
    main(*sys.argv[1:])
