"""What a stage's code says: a hash over the syntax trees of a script and of all that it imports of this package.

Comments, docstrings and layout are left out, so that only what can change a result changes the hash. A file of the
package that is no module (a template) counts where a module names it in a string.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[1]
# They hold no value and change none, and what passes them reaches a stage as DVC parameters.
_EXEMPT = ("medpipe/params/", "medpipe/errors.py")


def fingerprint(script: Path, key: str | None = None, exempt: tuple[str, ...] = _EXEMPT) -> str:
    """The hash of `script` and of the modules that it imports, at their top or in functions, and those import in turn.

    Modules whose place begins as one of `exempt` are left out, with what they alone import. Of a `match` whose cases
    import modules, `key` follows and hashes the case alone that imports the module of its name: of the architectures
    `mlp` takes `medpipe.models.mlp`.
    """
    digest = hashlib.sha256()
    for place, path in sorted((_place(path), path) for path in reached(script, key, exempt)):
        digest.update(place.encode() + b"\0" + _read(path, key).said + b"\0")
    return digest.hexdigest()[:16]


def keys(script: Path) -> list[str]:
    """The names between which a `match` in the script's modules chooses, sorted."""
    return sorted({key for path in reached(script) for key in _read(path, None).keys})


def _place(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix() if path.is_relative_to(SOURCE) else path.name


def reached(script: Path, key: str | None = None, exempt: tuple[str, ...] = _EXEMPT) -> set[Path]:
    """The files that `fingerprint` reads."""
    seen: set[Path] = set()
    todo = {script}
    while todo:
        seen.add(path := todo.pop())
        todo |= {file for file in _read(path, key).files if not _place(file).startswith(exempt)} - seen
    return seen


class _File(NamedTuple):
    said: bytes
    files: frozenset[Path]  # that it imports or names
    keys: frozenset[str]  # between which it chooses


def _read(path: Path, key: str | None) -> _File:
    found = _parsed(path, None)
    return _parsed(path, key) if key in found.keys else found


@cache
def _parsed(path: Path, key: str | None) -> _File:
    if path.suffix != ".py":
        return _File(path.read_bytes(), frozenset(), frozenset())
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    cases = (case for node in ast.walk(tree) if isinstance(node, ast.Match) for case in node.cases)
    choices = {_last(name) for case in cases for name in _imports(case)}
    tree = _Essence(key).visit(tree)
    files = {file for name in _imports(tree) for file in _files(name)} | set(_named(path, tree))
    return _File(ast.dump(tree).encode(), frozenset(files), frozenset(choices))


class _Essence(ast.NodeTransformer):
    """Without docstrings; of each `match` the case that imports the key's module, where there is one."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def visit_Match(self, node: ast.Match) -> ast.AST:
        own = [case for case in node.cases if any(_last(name) == self.key for name in _imports(case))]
        return self.generic_visit(ast.Match(node.subject, own or node.cases))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_text(child)]
        return super().generic_visit(node)


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone: a docstring, or a comment written as one."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.AST) -> set[str]:
    """The full names that may be modules of the package."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] == "medpipe"}


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _files(name: str) -> Iterator[Path]:
    """The module of that name, and the packages that it lies in, whose `__init__` is imported before it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = SOURCE.joinpath(*parts[:end])
        yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists())


def _named(path: Path, tree: ast.AST) -> Iterator[Path]:
    """Files beside a module of the package that it names in a string."""
    if path.is_relative_to(SOURCE):
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        yield from (file for file in path.parent.iterdir() if file.suffix and file.name in strings)
