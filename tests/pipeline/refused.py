"""In a finished small project: runs the stage `register` of skin, under one gate after the other, with the model of the
first argument as champion, and prints what each decided. Leaves store and alias as they were, the files as they come.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, "stages")
import own_code  # noqa: F401

# isort: split
from small_project import Project

import register as stage
from medpipe import tracking
from medpipe.registry.champions import find_reigning
from medpipe.registry.register import register

REGISTERED = "skin-classifier"
OPEN = {
    "margin": None,
    "max_calibration_error": None,
    "subgroup_floor": None,
    "shortcut_alarm": None,
    "unrelated": None,
}


def decide(**gate: Any) -> dict[str, Any]:
    Project(Path.cwd()).edit(lambda params: params["registry"]["skin"].update(gate=OPEN | gate))
    stage.main("skin")
    champion = json.loads(Path("reports/skin/champion.json").read_text())
    client, reigning = tracking.connect(), find_reigning(tracking.connect(), REGISTERED)
    assert reigning is not None
    [candidate] = [
        version
        for version in client.search_model_versions(f"name = '{REGISTERED}'")
        if version.tags["model"] == champion["decision"]["candidate"]
    ]
    told = {"name": champion["name"], "alias": reigning.tags["model"], "tag": candidate.tags["gate"]}
    return champion["decision"] | told | {"card": Path("reports/skin/card.md").read_text()}


def main(rival: str) -> None:
    best = json.loads(Path("reports/skin/comparison.json").read_text())["best"]
    run, other = (tracking.reopen(Path("models") / name) for name in (best, rival))
    client, local = run.client, Path(f"reports/skin/models/{best}.json")
    report = json.loads(local.read_text())
    report["sets"]["test"]["calibration"] = {
        "after": {"rms_calibration_error": {"value": 0.1, "low": 0.0, "high": 0.3}}
    }
    male = report["sets"]["test"]["subgroups"]["sex"]["values"]["male"]
    male["small"], male["overall"]["shared_recall"] = False, {"value": 0.5, "low": 0.25, "high": 0.75}
    client.log_dict(run.run_id, report, f"report/{best}.json")
    register(rival, REGISTERED, Path(), {}, aliases={"champion": None, "best": None})
    found = {
        "max_calibration_error": decide(max_calibration_error=0.2),
        "subgroup_floor": decide(subgroup_floor={"metric": "shared_recall", "floor": 1.0}),
        "margin": decide(margin=0.0),
    }
    comparison = Path("reports/skin/comparison.json")
    probes = {"model": best, "run": run.key, "alarm": True, "why": "the border alone tells the class"}
    comparison.write_text(json.dumps(json.loads(comparison.read_text()) | {"probes": probes}))
    found["shortcut_alarm"] = decide(shortcut_alarm="refuse")
    split = client.get_run(other.run_id).data.tags["medpipe.split"]
    client.set_tag(other.run_id, "medpipe.split", "another")
    found["unseen"] = decide(margin=0.0)
    shutil.rmtree(Path(client.get_run(other.run_id).info.artifact_uri.removeprefix("file://")) / "split")
    found["unrelated"] = decide(unrelated="refuse")
    found["accepted"] = decide()
    client.set_tag(other.run_id, "medpipe.split", split)
    run.log_artifacts(local, "report")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
