"""The figures of a finished run computed again from its stored predictions, and where what is written differs."""

import json
import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe.evaluation.compared import compared, texts
from medpipe.evaluation.report import cascade_report, classification_report, segmentation_report
from medpipe.models.decision import Rule
from medpipe.models.delivery import Delivery, read_recipe
from medpipe.params import Params, Task
from medpipe.registry import claim, evidence
from medpipe.registry.gate import conditions

UNSTORED = "train"  # the set whose rows' predictions are not kept, so that dvc.lock alone vouches for its figures
RELATIVE, ABSOLUTE = 1e-9, 1e-10  # by which the same figure may differ: float64 has 2e-16, and sums lose some digits
QUOTED = re.compile(r"<!-- figures: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def reports(root: Path, task: Task, params: Params) -> Iterator[str]:
    """A line for each figure in report and metrics of a model of the task that its predictions do not give."""
    for name in params.compare[task].models:
        table = pd.read_parquet(root / "predictions" / task / f"{name}.parquet")
        place = Path("reports") / task / "models" / f"{name}.json"
        report = json.loads((root / place).read_text())
        headline, measured = _measured(read_recipe(root / "models" / name), table, report, params)
        for part in (report, measured):
            part["sets"].pop(UNSTORED, None)
        yield from differences(f"{place}: sets", report["sets"], _plain(measured["sets"]))
        metrics = Path("metrics") / task / f"{name}.json"
        yield from differences(f"{metrics}:", json.loads((root / metrics).read_text()), _plain(headline))


def pages(root: Path, task: Task, params: Params) -> Iterator[str]:
    """A line for each place of the comparison, as JSON, Markdown and page, that predictions and reports do not give."""
    place = f"reports/{task}/comparison.json"
    stored, comparison = json.loads((root / place).read_text(encoding="utf-8")), compared(root, task, params)
    if differing := [*differences(f"{place}:", stored, comparison)]:
        yield from differing
    else:  # printed from the same bits, so that each letter can be asked for
        comparison = stored
    for name, text in texts(root, task, params, comparison).items():
        if not place.endswith(name):
            yield from lines(root, f"reports/{task}/{name}", text)


def cards(root: Path, task: Task, params: Params) -> Iterator[str]:
    """A line for each place of card, checklist and champion.json that the run's files do not give."""
    champion = json.loads((root / "reports" / task / "champion.json").read_text())
    decision, place = champion["decision"], f"reports/{task}/champion.json"
    if (name := decision["candidate"]) is None:
        return
    found = evidence.read(root, task, name, params)
    for end, text in claim.texts(found, decision).items():
        yield from lines(root, f"reports/{task}/{end}.md", text)
    against = {"the champion": decision, "the best champion so far": decision["best"] or {}}
    rivals = {title: rival for title, rival in against.items() if "difference" in rival}
    asked = conditions(task, params.registry[task].gate, found.report, found.probes, rivals)
    stored = [one for one in decision["conditions"] if not one["key"].endswith(".unrelated")]
    yield from differences(f"{place}: decision.conditions", stored, _plain(asked))
    if champion["run"] == decision["candidate_run"]:
        metrics = json.loads((root / "metrics" / task / f"{name}.json").read_text())
        said = {key: value for key, value in metrics.items() if value is not None}
        yield from differences(f"{place}: metrics", champion["metrics"], said)


def quotations(root: Path) -> Iterator[str]:
    """A line for each line of README.md and docs/ that a file is named for, `<!-- figures: FILE -->` to `<!-- end -->`,
    and does not have.
    """
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for source, block in QUOTED.findall(text):
            stands = (root / source).read_text(encoding="utf-8").splitlines() if (root / source).exists() else []
            for line in block.splitlines():
                if line.strip() and line not in stands:
                    yield f"{path.relative_to(root)}: not in {source}: {line}"


def differences(where: str, stored: Any, computed: Any) -> Iterator[str]:
    """A line for each value below `where`, a file and a colon or a key of it, that is not the computed one.

    Figures are float64 and sums of many: another processor, or another BLAS, splits and rounds these otherwise. That a
    file has its stage's bytes is for `hashes` to say.
    """
    figures = isinstance(stored, float) and isinstance(computed, float)
    if isinstance(stored, dict) and isinstance(computed, dict):
        for key in {**stored, **computed}:
            inner = f"{where} {key}" if where.endswith(":") else f"{where}.{key}"
            yield from differences(inner, stored.get(key, "nothing"), computed.get(key, "nothing"))
    elif isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
        for number, pair in enumerate(zip(stored, computed, strict=True)):
            yield from differences(f"{where}[{number}]", *pair)
    elif figures and math.isclose(stored, computed, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
        return
    elif stored != computed or isinstance(stored, bool) != isinstance(computed, bool):
        yield f"{where}: {json.dumps(stored)} is written, {json.dumps(computed)} comes out"


def lines(root: Path, path: str, text: str) -> Iterator[str]:
    """The first line of a file that differs from the computed text."""
    written = (root / path).read_text(encoding="utf-8")
    if written == text:
        return
    pairs = zip_longest(written.splitlines(), text.splitlines(), fillvalue="")
    number, stands, wanted = next((i, *pair) for i, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    start = next((i for i, (a, b) in enumerate(zip(stands, wanted, strict=False)) if a != b), 0)
    here = slice(max(0, start - 20), start + 20)
    yield f"{path}: line {number}: {stands[here]!r} is written, {wanted[here]!r} comes out"


def _measured(
    delivered: Delivery, table: pd.DataFrame, report: dict[str, Any], params: Params
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(headline, report), as the evaluation measured them."""
    of, settings = (delivered.name, table, delivered.classes), (params.evaluate, params.evaluate.seed)
    if delivered.kind == "segmenter":
        return segmentation_report(*of, *settings)
    if delivered.kind == "classifier":
        rule = report["served"]["rule"]
        known = rule and Rule(**rule | {"least": tuple(rule["least"])})
        return classification_report(*of, report["training"], known, *settings)
    assert delivered.threshold is not None
    return cascade_report(*of, delivered.threshold, report["training"], *settings)


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
