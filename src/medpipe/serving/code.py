"""The code that a packaged model brings: the modules that its predictor imports, under a package name of their own.

Python knows one module a name, and one process may load models of several versions of this product. So the package's
name bears the digest of its code, and the imports in it are rewritten to that name.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe import fingerprint

if TYPE_CHECKING:
    # Never imported here. It says that what packs a model depends on this code.
    from medpipe.serving import predictor  # noqa: F401

LOADER = "serving.predictor"


def files() -> list[Path]:
    """The files of the predictor, of all that it imports, and of their packages."""
    return sorted(fingerprint.reached(fingerprint.SOURCE / "medpipe/serving/predictor.py", exempt=()))


def digest() -> str:
    """The fingerprint of the code that is packed and that packs: comments, docstrings and layout do not count."""
    return fingerprint.fingerprint(fingerprint.SOURCE / "medpipe/serving/package.py", exempt=())


def write(folder: Path) -> str:
    """Write the code as a package into `folder`; returns the package's name, `medpipe_` and the digest."""
    name = f"medpipe_{digest()}"
    for file in files():
        target = folder / name / file.relative_to(fingerprint.SOURCE / "medpipe")
        target.parent.mkdir(parents=True, exist_ok=True)
        # At the beginning of a line: import statements.
        text = re.sub(r"^(\s*(?:from|import) )medpipe\b", rf"\1{name}", file.read_text("utf-8"), flags=re.MULTILINE)
        target.write_text(text, "utf-8")
    return name
