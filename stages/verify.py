"""Compute every figure of the last run again, from its predictions and hashes: `python stages/verify.py`.

No stage of DVC's; `make verify` runs it. Its exit status is 1 where anything differs, and each problem is a line with
file and key.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

import own_code  # noqa: F401
from medpipe.errors import InputError
from medpipe.params import Params, load
from medpipe.verification import figures, hashes, store


def main() -> int:
    root, params, found = Path(), load(), 0
    for problem in problems(root, params):
        tqdm.write(problem)
        found += 1
    quoted = sum(
        len(figures.QUOTED.findall(path.read_text())) for path in (Path("README.md"), *Path("docs").glob("*.md"))
    )
    tqdm.write(f"README.md and docs: {quoted or 'no'} tables are quoted from this repository's files")
    tqdm.write(
        f"{found} problems" if found else "every file has the bytes of dvc.lock, and every figure comes out again"
    )
    return int(found > 0)


def problems(root: Path, params: Params) -> Iterator[str]:
    if not (root / "dvc.lock").exists():
        raise InputError("dvc.lock: not found; nothing has run here, `make repro` runs it")
    yield from hashes.changed(root)
    for task in tqdm(params.compare, "verify", unit="task", disable=None):
        for check in (figures.reports, figures.pages, *[figures.cards, store.versions] * (task in params.registry)):
            try:
                yield from check(root, task, params)
            except (InputError, OSError, ValueError, LookupError, TypeError) as error:  # of a file that was altered
                yield f"{task}: {check.__name__} cannot be computed again: {type(error).__name__}: {error}"
    yield from figures.quotations(root)


if __name__ == "__main__":
    sys.exit(main())
