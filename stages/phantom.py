"""Write the phantom archive of one task: python stages/phantom.py <task>"""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.params import load


def main(task: str) -> None:
    settings = load().phantom
    with atomic.folder(Path("data/phantom") / task) as folder:
        # Local imports, so that an instance of the stage depends on its own task's module alone.
        match task:
            case "skin":
                from medpipe.phantoms import skin

                skin.write(folder, settings["skin"])
            case "brain":
                from medpipe.phantoms import brain

                brain.write(folder, settings["brain"])
            case "chest":
                from medpipe.phantoms import chest

                chest.write(folder, settings["chest"])
            case _:
                raise SystemExit(f"{task!r} is no task; take skin, brain or chest")


if __name__ == "__main__":
    main(*sys.argv[1:])
