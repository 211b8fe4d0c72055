"""Each stage in dvc.yaml depends on exactly the modules that it imports: no rerun is missed and none is for nothing."""

import ast
from pathlib import Path

import pytest
from dvc.repo import Repo

# They hold no value and change none: see the head of dvc.yaml.
EXEMPT = {Path("src/medpipe/errors.py")}  # and medpipe.params, a package, which module_file does not know
# Modules whose `match` imports one module of several: an instance depends on its own.
DISPATCH = {Path("stages/phantom.py"), Path("src/medpipe/data/tasks.py"), Path("src/medpipe/models/build.py")}


def module_file(name: str) -> Path | None:
    path = Path("src", *name.split("."))
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return None


def imports(path: Path) -> set[Path]:
    """The project's modules that a file imports, at its top or inside a function; of a dispatch at its top alone."""
    tree = ast.parse(path.read_text())
    found: set[Path] = set()
    for node in tree.body if path in DISPATCH else ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {file for name in names if name.split(".")[0] == "medpipe" and (file := module_file(name))}
    return found


def closure(roots: set[Path]) -> set[Path]:
    seen: set[Path] = set()
    while roots:
        path = roots.pop()
        if path not in seen:
            seen.add(path)
            roots |= imports(path) - EXEMPT
    return seen


def stage_dependencies() -> dict[str, set[Path]]:
    """The Python files that each stage depends on."""
    stages = {}
    for stage in Repo(".").index.stages:
        code = {Path(dep.def_path) for dep in stage.deps if dep.def_path.startswith(("src/", "stages/"))}
        stages[stage.addressing] = {path for path in code if path.suffix == ".py"}
    return stages


STAGES = stage_dependencies()


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_the_modules_that_it_imports(stage):
    declared = STAGES[stage]
    script = next(path for path in declared if path.parts[0] == "stages")
    own = {path for dispatch in DISPATCH for path in chosen(dispatch, declared)}
    reached = closure({script} | own)
    assert not reached - declared, "a change of these would go unnoticed"
    # What another branch of a dispatch imports may stand in the list that all instances of a stage share.
    assert not declared - reached - closure({script} | branches()), "a change of these would rerun it for nothing"


def branches() -> set[Path]:
    return {file for dispatch in DISPATCH for file in local_modules(dispatch)}


def chosen(dispatch: Path, declared: set[Path]) -> set[Path]:
    """What an instance takes through a dispatch: the declared ones among the modules that the `match` imports."""
    return local_modules(dispatch) & declared if dispatch in declared else set()


def local_modules(dispatch: Path) -> set[Path]:
    return {
        file
        for node in ast.walk(ast.parse(dispatch.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("medpipe")
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        if (file := module_file(name))
    }


def test_every_dispatching_stage_declares_its_own_branch():
    for stage, declared in STAGES.items():
        for dispatch in DISPATCH & declared:
            assert chosen(dispatch, declared) - imports(dispatch), f"{stage}: {dispatch} without the module it imports"
