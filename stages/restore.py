"""Make MLflow show every model that models/ holds: `python stages/restore.py`. No stage of DVC's; `make ui` runs it."""

from pathlib import Path

import own_code  # noqa: F401
from medpipe.params import load
from medpipe.registry.restore import restore


def main() -> None:
    for line in restore(Path.cwd(), load().evaluate.max_pixels):
        print(line)


if __name__ == "__main__":
    main()
