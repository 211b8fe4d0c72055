"""`medpipe drift`: do logged answers still come from the validation's distribution?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medpipe import atomic
from medpipe.drift import conformal, directions, martingale
from medpipe.drift.logs import Logged, read

DRIFT = 3  # the exit status


@dataclass(frozen=True)
class Test:
    """A sequential test: log10 (n,) of its capital after each case, its limit, where that was reached first, and how
    many cases it waits for before it begins."""

    name: str
    path: npt.NDArray[np.float64]
    limit: float
    alarm: int | None
    waits: int


@dataclass(frozen=True)
class Watched:
    logged: Logged
    tests: list[Test]

    @property
    def drifted(self) -> bool:
        return any(test.alarm is not None for test in self.tests)


def check(logs: Path, validation: Path | None, page: Path | None) -> int:
    """Test each version's answers in the folder, print what came out, write the `page`. Returns DRIFT or 0."""
    from medpipe.drift.page import html

    found = [watched(logged) for logged in read(logs, validation)]
    for one in found:
        for test in one.tests:
            print(f"{one.logged.title}: {test.name}: {said(one.logged, test)}")
    if page is not None:
        with atomic.file(page) as file:
            file.write_text(html(found))
    return DRIFT if any(one.drifted for one in found) else 0


def watched(logged: Logged) -> Watched:
    """The tests of a version's answers. What is drawn is the same each time, so that a longer log goes on."""
    seeds = np.random.SeedSequence(int(logged.sha256[:16], 16)).spawn(3)
    paths, embedding = {}, f"embedding, against the first {directions.FIRST} cases"
    if logged.scores is not None and logged.known is not None:
        p = conformal.of_scores(logged.scores, logged.known, logged.rows, seeds[0])
        paths["distance from what it was trained on"] = martingale.capital(martingale.distance_bets(p))
    p, share = conformal.of_classes(logged.predicted, logged.validation, seeds[1])
    paths["predicted classes"] = martingale.mean(martingale.capital(martingale.class_bets(p, share)))
    if logged.embeddings is not None:
        paths[embedding] = directions.path(logged.embeddings, seeds[2])
    limit, waits = martingale.limit(len(paths)), {embedding: directions.FIRST}
    tests = [Test(name, path, limit, martingale.alarm(path, limit), waits.get(name, 0)) for name, path in paths.items()]
    return Watched(logged, tests)


def said(logged: Logged, test: Test) -> str:
    """What came out of a test, in words."""
    if len(test.path) <= test.waits:
        return f"not tested yet: {len(test.path)} cases, and it begins after {test.waits}"
    if test.alarm is None:
        return f"no drift in {len(test.path)} cases (evidence {10 ** test.path.max():.3g} to 1 at most)"
    when = logged.times.iloc[test.alarm]
    return f"DRIFT, certain at case {test.alarm + 1} of {len(test.path)}, {when:%Y-%m-%d %H:%M} UTC"
