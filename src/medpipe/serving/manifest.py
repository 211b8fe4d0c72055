"""The SHA-256 of each file of a package, by which a changed one is refused by its name."""

import hashlib
import importlib.util
import json
import marshal
import sys
from pathlib import Path

from medpipe.errors import InputError
from medpipe.serving import signing

FILE = "manifest.json"
LATER = (FILE, *signing.UNSIGNED)  # not among the hashes


def hashes(package: Path) -> dict[str, str]:
    """The SHA-256 of each file of the folder, by its path in it."""
    found = {}
    for path in sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        if (name := path.relative_to(package).as_posix()) not in LATER:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write(package: Path) -> None:
    (package / FILE).write_text(json.dumps(hashes(package), indent=1) + "\n")


def check(package: Path, imported: bool) -> None:
    """Raises InputError that names the files that are not as they were written, not there, or new.

    Python runs a module's bytecode in its place, and the manifest knows none. So who has this library installed and
    asks before code of the package runs, with `imported` false, has bytecode refused that is not of its source.
    """
    try:
        known, found = json.loads((package / FILE).read_text()), hashes(package)
        said = [f"{name} is not here" for name in known.keys() - found]
        said += [f"{name} is none of its files" for name in found.keys() - known]
        said += [f"{name} was changed" for name in known.keys() & found if known[name] != found[name]]
        said += [] if imported else [f"{name} is not the bytecode of its source" for name in _foreign(package)]
    except (OSError, ValueError, AttributeError) as error:
        said = [f"{FILE} cannot be read ({error})"]
    if said:
        raise InputError(f"{package}: not the model that was packaged: {', '.join(sorted(said))}; get it again")


def _foreign(package: Path) -> list[str]:
    """The bytecode that this Python would run, and that compiling its source does not give."""
    return [
        path.relative_to(package).as_posix()
        for path in package.rglob(f"__pycache__/*.{sys.implementation.cache_tag}*.pyc")
        if not _compiled(path)
    ]


def _compiled(bytecode: Path) -> bool:
    try:
        source = importlib.util.source_from_cache(str(bytecode))
        return marshal.loads(bytecode.read_bytes()[16:]) == compile(Path(source).read_bytes(), source, "exec")
    except (OSError, ValueError, TypeError, EOFError, SyntaxError):
        return False
