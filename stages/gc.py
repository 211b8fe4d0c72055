"""Remove what experiments left that DVC no longer knows, after a question: `python stages/gc.py`. No stage of DVC's;
`make gc` runs it.
"""

from pathlib import Path

import own_code  # noqa: F401
from medpipe.registry import garbage


def main() -> None:
    root = Path.cwd()
    with garbage.locked(root) as repo:
        unused = garbage.find(root, repo)
        sizes = unused.sizes()
        if not any((unused.runs, *unused.checkpoints, *unused.copies, *unused.objects)):
            print("nothing to remove")
            return
        print(f"experiments that DVC no longer knows: {', '.join(unused.experiments) or 'none'}")
        counts = (len(unused.runs), len(unused.checkpoints), len(unused.copies), len(unused.objects))
        units = ("runs", "trainings", "folders", "files")
        for (kind, size), count, unit in zip(sizes.items(), counts, units, strict=True):
            print(f"  {kind:<20}{count:>6} {unit:<10}{size / 1e6:>12.3f} MB")
        print(f"  {'in all':<37}{sum(sizes.values()) / 1e6:>12.3f} MB")
        if input("Remove them? [y/N] ") == "y":
            garbage.remove(unused, repo)


if __name__ == "__main__":
    main()
