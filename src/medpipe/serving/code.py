"""The code that a packaged model brings: the modules that its predictor imports, under a package name of their own.

Python knows one module a name, and one process may load models of several versions of this product. So the package's
name bears the digest of its code, and the imports in it are rewritten to that name.
"""

import ast
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import medpipe

if TYPE_CHECKING:
    # Never imported here, since it brings Keras. It says that what packs a model depends on this code.
    from medpipe.serving import predictor  # noqa: F401

PACKAGE = Path(medpipe.__file__).parent
LOADER = "serving.predictor"


def modules(start: str) -> dict[str, str]:
    """The source by file (relative to `medpipe/`) of the module `start`, of all that it imports, and of their packages.

    `start` is its name below `medpipe`.
    """
    found: dict[str, str] = {}
    waiting = [f"medpipe.{start}"]
    while waiting:
        name = waiting.pop()
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        place = PACKAGE.parent / name.replace(".", "/")
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        file = path.relative_to(PACKAGE).as_posix() if path.exists() else None
        if file is None or file in found:  # `from module import name`: a function, or a class
            continue
        found[file] = path.read_text()
        for node in ast.walk(ast.parse(found[file])):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            waiting += [module for module in named if module.split(".")[0] == "medpipe"]
    return dict(sorted(found.items()))


def digest() -> str:
    """SHA-256 of the code that is packed and that packs, in which comments, docstrings and layout do not count."""
    total = hashlib.sha256()
    for file, source in modules("serving.package").items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                del node.body[0]
        total.update(f"{file}\0{ast.dump(tree)}\0".encode())
    return total.hexdigest()


def write(folder: Path) -> str:
    """Write the code as a package into `folder`; returns the package's name, `medpipe_` and the digest's beginning."""
    name = f"medpipe_{digest()[:16]}"
    for file, source in modules(LOADER).items():
        target = folder / name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"^(\s*(?:from|import) )medpipe\b", rf"\1{name}", source, flags=re.MULTILINE))
    return name
