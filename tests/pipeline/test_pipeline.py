"""What the pipeline promises its users, on the real DAG."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.repo import Repo
from small_project import ALL, ENSEMBLE, FUSIONS, MODELS, Project, stages_in

from medpipe.evaluation.wording import bounded
from medpipe.models.temperature import untemper
from medpipe.params import FILES, load
from medpipe.registry import evidence
from medpipe.registry.claim import answers
from medpipe.registry.evidence import PERSON

HERE = Path(__file__).parent
TASKS = ("skin", "brain", "chest")


def test_every_task_ends_in_a_comparison_a_champion_and_figures(project):
    for task in TASKS:
        comparison = json.loads((project.root / "reports" / task / "comparison.json").read_text())
        champion = json.loads((project.root / "reports" / task / "champion.json").read_text())
        assert champion["name"] == comparison["best"]
    for name in ALL:
        task = name.partition("-")[0]
        headline = json.loads((project.root / "metrics" / task / f"{name}.json").read_text())
        assert headline
        assert list((project.root / "plots" / task / name).glob("*.png"))
        run = project.find_run(project.key(name))
        assert run.info.status == "FINISHED"
        assert {f"test/{k}": v for k, v in headline.items() if v is not None}.items() <= run.data.metrics.items()


def test_the_first_run_says_which_stage_speaks_what_is_best_and_where_to_look(project):
    lines = (project.root.parent / "printed").read_text().splitlines()
    assert sum(line.startswith("train@chest-convnet  ") for line in lines) > 2
    for line, task in zip(lines[-4:], TASKS, strict=False):
        best = json.loads((project.root / "reports" / task / "comparison.json").read_text())["best"]
        assert line.startswith(f"{task}: best by ")
        assert re.search(rf" is {best}, 0\.\d+ .+ on test rows; see reports/{task}/comparison.html$", line)
    assert lines[-1] == "all runs: `make ui`"
    told = "\n".join(lines)
    assert "cuda" not in told.lower()
    assert "warning" not in told.lower()


# What stages read and need not declare: code, which is in code.json; the files of values, whose keys are held below;
# how DVC and git hold an archive; states of trainings and runs, which have their settings for a key.
KNOWN = ("src/", "stages/", ".", "dvc.", "mlartifacts/", "mlflow.db", *FILES)
# The clean table has the hash of each file of the archive. A fusion's ONNX file has those of its members' files. The
# report of the best model, which DVC cannot know before, names the run that made it.
IMPLIED = {
    "prepare": {"data/phantom"},
    "evaluate-fused": {"predictions/skin/skin-tabular.onnx"},
    "register": {"models"},
}
# What some of a stage's kinds read, or read in some cases: recipes hold their base; cards and gates ask more where
# there is a champion already.
SELDOM = {
    "prepare": {"tasks.*", "ingest.max_pixels"},
    "train": {"bases.*"},
    "fuse": {"scales.laptop"},
    "register": {"compare.*", "evaluate"},
}


def test_every_stage_declares_the_values_and_files_that_it_reads_and_no_others(project):
    with Repo(str(project.root)) as repo:
        stages = repo.index.stages
    undeclared, unread = {}, {}
    for stage in stages:
        recorded = project.root.parent / "reads" / stage.cmd.removeprefix("python stages/").replace(".py", "")
        read: dict[str, set[str]] = {"file": set(), "key": set()}
        for line in recorded.read_text().splitlines():
            kind, _, name = line.partition(" ")
            read[kind].add(name)
        group = stage.name.partition("@")[0]
        keys = {key for dep in stage.deps for key in getattr(dep, "params", ()) if str(dep) != "reports/code.json"}
        keys |= {"scale"} if any(".laptop" in key for key in keys) else set()  # it picks them
        files = {str(dep) for dep in stage.deps if not hasattr(dep, "params")}
        places = files | {str(out) for out in stage.outs} | IMPLIED.get(group, set())
        undeclared[stage.name] = {
            path for path in read["file"] if not path.startswith(KNOWN) and "/." not in path and not part(path, places)
        } | {key for key in read["key"] if not part(key, keys)}
        unread[stage.name] = {
            name
            for name in (files | keys) - {"scale"}
            if not any(part(found, {name}) or part(name, {found}) for found in read["file"] | read["key"])
            and not any(fnmatch(name, pattern) for pattern in SELDOM.get(group, ()))
        }
    assert {stage: names for stage, names in undeclared.items() if names} == {}
    assert {stage: names for stage, names in unread.items() if names} == {}


def part(name, wholes):
    """Whether the file or key is one of `wholes`, or below one."""
    return any(name == whole or name.startswith((f"{whole}/", f"{whole}.")) for whole in wholes)


def test_a_second_repro_does_nothing_but_name_models_of_another_backend(project):
    jax = ("env", "KERAS_BACKEND=jax")
    said = project.run(*jax, "python", "stages/repro.py", "--jobs", "2")
    assert stages_in(said) == set()
    assert project.run("git", "status", "--porcelain", "--", "reports", "metrics", "dvc.lock") == ""
    [warning] = [line for line in said.splitlines() if "WARNING" in line]
    found = re.fullmatch(
        r"WARNING: nothing was run again for it, but (.+) are of other versions: backend: trained with tensorflow \S+, "
        r"now jax \S+; `dvc repro --single-item --force (.+)` and then `make repro` make them anew",
        warning,
    )
    assert found is not None
    assert set(found[1].split(", ")) == set(ALL)
    assert set(found[2].split()) == {f"train@{name}" for name in MODELS}


def test_training_and_evaluation_agree_on_the_validation_rows(project):
    history = pd.read_csv(project.root / "models/chest-convnet/history.csv")
    best = history.loc[history["val_loss"].idxmin()]
    table = pd.read_parquet(project.root / "predictions/chest/chest-convnet.parquet").query("set == 'val'")
    probabilities = table[[c for c in table if c.startswith("p_")]]
    predicted = probabilities.idxmax(axis=1).str.removeprefix("p_")
    assert (predicted == table["label"]).mean() == pytest.approx(best["val_accuracy"], abs=1e-6)


def said(table):
    """What the network said, before its temperature."""
    tempered = table.filter(regex="^p_")
    return pd.DataFrame(untemper(tempered.to_numpy(), table["temperature"].iloc[0]), table.index, tempered.columns)


def test_an_ensemble_is_the_mean_of_its_members_by_the_weights_of_its_report_and_run(project):
    for name, members in ENSEMBLE.items():
        report = json.loads((project.root / f"reports/skin/models/{name}.json").read_text())
        assert tuple(report["weights"]) == members
        assert sum(report["weights"].values()) == pytest.approx(1)
        params = project.find_run(project.key(name)).data.params
        assert [float(params[f"members.{member}.weight"]) for member in members] == [*report["weights"].values()]
        tables = [pd.read_parquet(project.root / f"predictions/skin/{n}.parquet") for n in (name, *members)]
        mean, *parts = (said(table.set_index("id")) for table in tables)
        expected = sum(weight * p for weight, p in zip(report["weights"].values(), parts, strict=True))
        np.testing.assert_allclose(mean, expected.loc[mean.index], atol=1e-5)
        assert set(tables[0]["set"]) == {"val", "test"}  # a member reads metadata, which external rows lack


def test_test_rows_share_no_group_with_the_others(project):
    for task in TASKS:
        rows = pd.read_parquet(project.root / f"data/split/{task}/rows.parquet")
        assert rows.groupby("group")["set"].nunique().max() == 1
        paths = [*(project.root / "predictions" / task).glob("*.parquet")]
        assert {path.stem for path in paths} >= {name for name in ALL if name.startswith(f"{task}-")}
        for path in paths:
            assert "train" not in set(pd.read_parquet(path)["set"])


EDITED = {  # of each what reruns; the sets are disjoint
    "src/medpipe/models/resnet.py": {"train@brain-classifier", "probe@chest"},
    "src/medpipe/data/readers/radiography.py": {"ingest@chest"},
    "src/medpipe/params/__init__.py": set(),
    "src/medpipe/registry/restore.py": set(),
    "src/medpipe/serving/predictor.py": {f"evaluate@{n}" for n in MODELS}
    | {f"evaluate-fused@{n}" for n in FUSIONS}
    | {f"register@{task}" for task in TASKS},
}


def test_an_edit_reruns_the_stages_that_import_it_and_a_comment_none(project):
    texts = {project.root / module: (project.root / module).read_text() for module in EDITED}
    try:
        for path, text in texts.items():
            path.write_text(text + "\n# A comment.\n")
        assert project.repro("code") == {"code"}
        assert json.loads(project.run("dvc", "status", "--json")) == {}
        for path, text in texts.items():
            path.write_text(text + "\nADDED = 1\n")
        project.run("python", "stages/fingerprint.py")
        status = json.loads(project.run("dvc", "status", "--json"))
        changed = {stage for stage, problems in status.items() if "reports/code.json" in str(problems)}
        assert changed - {"code"} == set().union(*EDITED.values())
    finally:
        for path, text in texts.items():
            path.write_text(text)
        project.repro("code")


def test_one_models_dropout_concerns_its_training_and_what_follows(project):
    project.edit(lambda params: params["models"]["skin-tabular"]["network"].update(dropout=0.45))
    assert set(json.loads(project.run("dvc", "status", "--json"))) == {"train@skin-tabular"}
    project.run("git", "checkout", "--quiet", "--", "params.yaml")

    drawn = project.run("dvc", "dag", "--dot")
    follows = set(re.findall(r'"train@skin-tabular" -> "([^"]+)"', drawn))
    assert follows == {"evaluate@skin-tabular", "fuse@skin-early"}
    for model in ("skin-early", "skin-mean"):
        assert f'"fuse@{model}" -> "evaluate-fused@{model}"' in drawn
        assert f'"evaluate-fused@{model}" -> "compare@skin"' in drawn
    assert '"fuse@skin-early" -> "fuse@skin-mean"' in drawn
    assert '"evaluate@skin-image" -> "fuse@skin-mean"' in drawn


def test_an_experiments_values_reach_optimizer_folds_run_and_table(project):
    before = project.key("chest-convnet")
    champion = project.client.get_model_version_by_alias("chest-classifier", "champion").version
    # A model of folds is not probed.
    changes = [
        part
        for value in ("train.lr=2e-5", "+models.chest-convnet.folds=2", "evaluation.yaml:~probes.chest")
        for part in ("--set-param", value)
    ]
    output = project.run("dvc", "exp", "run", "--name", "slow", *changes, "--downstream", "train@chest-convnet")
    assert stages_in(output) == {"train@chest-convnet", "evaluate@chest-convnet", "compare@chest", "register@chest"}
    history = pd.read_csv(project.root / "models/chest-convnet/history.csv")
    assert set(history["fold-1/lr"]) == {2e-5}
    run = project.find_run(project.key("chest-convnet"))
    assert float(run.data.params["lr"]) == 2e-5
    assert run.data.tags["medpipe.experiment"] == "slow"
    assert {"epoch/fold-1/val_loss", "epoch/fold-2/val_loss", "test/macro_f1"} <= set(run.data.metrics)
    assert project.client.get_model_version_by_alias("chest-classifier", "champion").version == champion
    [row] = [row for row in project.experiments if row["Experiment"] == "slow"]
    assert float(row["train.lr"]) == 2e-5

    # Each row of training and validation is judged by the model that has not seen it.
    rows = pd.read_parquet(project.root / "data/split/chest/rows.parquet")
    table = pd.read_parquet(project.root / "predictions/chest/chest-convnet.parquet")
    assert set(table["id"][table["set"] == "val"]) == set(rows["id"][rows["set"].isin(["train", "val"])])
    assert (project.root / "plots/chest/chest-convnet/curves.png").exists()

    # Back again: DVC restores the trained model from its cache, and with it the first run. What lies in git in place of
    # the cache is made again, and into that run.
    project.run("git", "checkout", "--quiet", "--", "params.yaml")
    assert project.repro("evaluate@chest-convnet") == {"evaluate@chest-convnet"}
    assert project.key("chest-convnet") == before
    assert project.find_run(before).data.params["lr"] == "0.001"
    project.restore()


def test_champions_give_in_a_fresh_process_what_evaluate_gave(project, tmp_path):
    registered, tables = {"skin": "skin-classifier", "brain": "brain-cascade"}, {}
    for task in registered:
        champion = json.loads((project.root / f"reports/{task}/champion.json").read_text())
        table = pd.read_parquet(project.root / f"predictions/{task}/{champion['name']}.parquet").query("set == 'test'")
        clean = pd.read_parquet(project.root / f"data/clean/{task}.parquet").set_index("id").loc[table["id"]]
        cases = clean[[c for c in ("age", "sex", "localization") if c in clean]].reset_index(drop=True)
        files = [project.root / "data/phantom" / task / path for path in clean["path"]]
        cases.insert(0, "image", pd.Series([file.read_bytes() if i % 2 else str(file) for i, file in enumerate(files)]))
        cases.to_pickle(tmp_path / f"{task}.pkl")
        tables[task] = table
    script = (
        "import sys, mlflow, pandas as pd\n"
        "store, root, *tasks = sys.argv[1:]\n"
        "mlflow.set_tracking_uri(store)\n"
        "for task, name in zip(tasks[::2], tasks[1::2]):\n"
        "    config = {'image_root': f'{root}/{task}'}\n"
        "    model = mlflow.pyfunc.load_model(f'models:/{name}@champion', model_config=config)\n"
        "    model.predict(pd.read_pickle(f'{task}.pkl')).to_pickle(f'{task}.found.pkl')\n"
    )
    store = f"sqlite:///{project.root / 'mlflow.db'}"
    named = [part for pair in registered.items() for part in pair]
    command = [sys.executable, "-I", "-c", script, store, str(project.root / "data/phantom"), *named]
    subprocess.run(command, cwd=tmp_path, check=True)

    table, found = tables["skin"], pd.read_pickle(tmp_path / "skin.found.pkl")
    columns = [c for c in table if c.startswith("p_")]
    np.testing.assert_allclose(found[[c.removeprefix("p_") for c in columns]], table[columns], atol=1e-5)
    table, found = tables["brain"], pd.read_pickle(tmp_path / "brain.found.pkl")
    np.testing.assert_allclose(found["p_tumour"], table["p_tumour"], atol=1e-5)
    assert (found["tumour"].to_numpy() == (table["tp"] + table["fp"] > 0).to_numpy()).all()
    for task in registered:
        served = pd.read_pickle(tmp_path / f"{task}.found.pkl")["ood"]
        np.testing.assert_allclose(served, tables[task]["ood"], atol=0.05)  # a rank among few validation rows


def test_each_condition_of_the_gate_refuses_a_champion_and_names_figure_and_key(project):
    champion = project.client.get_model_version_by_alias("skin-classifier", "champion")
    best = champion.tags["model"]
    rival = "skin-mean" if best == "skin-image" else "skin-image"
    found = json.loads(project.run(sys.executable, str(HERE / "refused.py"), rival).splitlines()[-1])
    for condition, why in {
        "margin": r"no worse than the champion: (macro_f1 .+ worse, of 0 allowed|"
        r"not measured: the difference has no valid interval on \d+ groups .+)",
        "max_calibration_error": r"calibrated: RMS calibration error 0\.100 \[0\.000, 0\.300\], of 0\.2 allowed",
        "subgroup_floor": r"no subgroup below the floor: shared_recall 0\.500 \[0\.250, 0\.750\] of sex male, "
        r"the lowest of \d; the floor is 1",
        "shortcut_alarm": r"no shortcut alarm: the probes raise an alarm: the border alone tells the class",
        "unrelated": rf"comparable with the champion: {rival} was made on other data \(split another, now \w+\) and "
        r"cannot be compared: which rows trained it is not known; .+",
    }.items():
        said = found[condition]
        assert (said["alias"], said["name"], said["moves"]) == (rival, rival, False), condition
        assert re.fullmatch(rf"refused: {why} \(registry\.skin\.gate\.{condition}\)", said["why"]), said["why"]
        assert said["tag"] == said["why"]
        gate = said["card"].partition("## Gate")[2].partition("## Data")[0]
        assert f"**Refused**: {said['why'].removeprefix('refused: ')}." in gate
        assert f"- against the champion: {said['rival']}\n" in gate
        assert "there was no champion" not in gate
        assert re.search(rf"anchored to: {rival}, version \d, the champion\n", gate)
    # Loaded and asked again, a champion of another split says of rows that it has not seen what its evaluation stored.
    assert found["unseen"]["difference"] == pytest.approx(found["margin"]["difference"], abs=1e-6)
    assert "and has not seen these rows: macro_f1" in found["unseen"]["rival"]
    assert (found["accepted"]["alias"], found["accepted"]["moves"]) == (best, True)
    project.restore()
    project.run("python", "stages/restore.py")
    restored = project.client.get_model_version_by_alias("skin-classifier", "champion")
    assert (restored.version, restored.description) == (champion.version, champion.description)


def test_every_version_has_its_card_and_its_checklist(project):
    for task, registered in (("skin", "skin-classifier"), ("brain", "brain-cascade"), ("chest", "chest-classifier")):
        version = project.client.get_model_version_by_alias(registered, "champion")
        name = version.tags["model"]
        card, claim = ((project.root / f"reports/{task}/{end}.md").read_text() for end in ("card", "claim"))
        assert version.description == card
        report = json.loads((project.root / f"reports/{task}/models/{name}.json").read_text())
        overall = report["sets"]["test"]["overall"]
        measured = overall["dice" if task == "brain" else "macro_f1"]
        assert f"| {'Dice' if task == 'brain' else 'Macro F1'} | {bounded(measured)} |" in card
        assert report["run"] in card
        rows = [line.split(" | ") for line in claim.splitlines() if re.match(r"\| \d", line)]
        assert [int(row[0].removeprefix("| ")) for row in rows] == [*range(1, 45)]
        assert all(row[3].strip(" |") for row in rows)
        found = evidence.read(project.root, task, name, load(project.root))
        real = replace(found, declared=found.declared.model_copy(update={"archive": "/data/real"}))
        said = answers(real)
        for number in (3, 13, 14, 16, 44):  # use, acquisition, reference standard, annotators, funding
            assert PERSON in said[number - 1]


def test_verify_passes_as_it_is_and_names_every_file_of_which_a_digit_or_a_byte_is_altered(project):
    before, after = json.loads(project.run(sys.executable, str(HERE / "altered.py")).splitlines()[-1])
    assert before["problems"] == []
    for place in after["altered"]:
        assert any(line.startswith(place) for line in after["problems"]), place
    best = json.loads((project.root / "reports/skin/comparison.json").read_text())["best"]
    for key in (
        f"reports/skin/models/{best}.json: sets.test.",
        f"metrics/skin/{best}.json: ",
        "reports/skin/card.md: line ",
    ):
        assert any(line.startswith(key) and "comes out" in line for line in after["problems"]), key
    project.restore()


def test_a_fresh_clone_after_dvc_pull_shows_every_model_again(project, tmp_path):
    project.run("dvc", "remote", "add", "--force", "--default", "shared", str(tmp_path / "remote"))
    project.run("dvc", "push")
    project.run("git", "add", ".dvc/config")
    project.run("git", "commit", "--quiet", "--message", "A remote")
    project.run("git", "clone", "--quiet", "--config", "core.autocrlf=true", str(project.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    clone.run("python", "stages/restore.py")
    for name in ALL:
        ours, theirs = (side.find_run(project.key(name)) for side in (project, clone))
        assert theirs.data.params == ours.data.params
        expected, figures = (
            {key: value for key, value in side.data.metrics.items() if not key.startswith("system/")}
            for side in (ours, theirs)
        )
        assert figures == expected
        assert theirs.data.tags["medpipe.settings"] == ours.data.tags["medpipe.settings"]
    for registered in ("skin-classifier", "brain-cascade", "chest-classifier"):
        assert clone.client.get_model_version_by_alias(registered, "champion")
    assert clone.repro() == set()
