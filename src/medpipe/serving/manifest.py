"""The SHA-256 of each file of a package, by which a changed one is refused by its name."""

import hashlib
import json
from pathlib import Path

from medpipe.errors import InputError
from medpipe.serving import signing

FILE = "manifest.json"
LATER = (FILE, *signing.UNSIGNED)  # not among the hashes


def hashes(package: Path) -> dict[str, str]:
    """The SHA-256 of each file of the folder, by its path in it; Python's bytecode is left out, which it may write."""
    found = {}
    for path in sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        if (name := path.relative_to(package).as_posix()) not in LATER:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write(package: Path) -> None:
    (package / FILE).write_text(json.dumps(hashes(package), indent=1) + "\n")


def check(package: Path) -> None:
    """Raises InputError that names the files that are not as they were written, not there, or new."""
    try:
        known, found = json.loads((package / FILE).read_text()), hashes(package)
        said = [f"{name} is not here" for name in known.keys() - found]
        said += [f"{name} is none of its files" for name in found.keys() - known]
        said += [f"{name} was changed" for name in known.keys() & found if known[name] != found[name]]
    except (OSError, ValueError, AttributeError) as error:
        said = [f"{FILE} cannot be read ({error})"]
    if said:
        raise InputError(f"{package}: not the model that was packaged: {', '.join(sorted(said))}; get it again")
