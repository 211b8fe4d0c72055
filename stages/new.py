"""Add a task by its archive: `python stages/new.py retina /data/retina [LABEL=dx ...]`. No stage of DVC's."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import params
from medpipe.data.archive import Archive
from medpipe.errors import InputError
from medpipe.planning.found import Asked
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import check_name, write


def main(task: str, data: str, *arguments: str) -> None:
    """`arguments`: of `Asked`, as LABEL=dx."""
    check_name(task)
    asked = Asked.parse(arguments)
    values = params.load()
    archive = Archive(Path(data).expanduser().resolve())
    found = plan(task, archive, look(archive, asked), values.ingest.max_pixels, asked.split)
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
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"nothing was written: {error}")
