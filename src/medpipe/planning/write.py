"""Lines added to `params.yaml`, which keeps its comments and its order."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medpipe import atomic, params
from medpipe.errors import InputError
from medpipe.params import Params


def write(path: Path, sections: Mapping[str, Sequence[str]]) -> list[str]:
    """Add to the end of each section its lines, and say which sections changed; one that has such a key stays as it is.

    Raises InputError, and writes nothing, where the file would not be valid then.
    """
    text = path.read_text(encoding="utf-8")
    values = params.parse(text, str(path))
    lines, added = text.splitlines(), []
    for section, new in sections.items():
        if section not in values:
            raise InputError(f"{path}: has no section {section}")
        keys = [line.strip().split(":")[0] for line in new if line.startswith("  ") and not line.startswith("   ")]
        present = [key for key in keys if key in (values[section] or {})]
        if present:
            continue
        place = _end(lines, section)
        if not values[section]:  # `fusions: {}`
            lines[place - 1] = f"{section}:"
        lines[place:place] = new
        added.append(section)
    text = "\n".join(lines) + "\n"
    params.validated(Params, params.parse(text, str(path)), str(path))
    if added:
        with atomic.file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return added


def _end(lines: Sequence[str], section: str) -> int:
    """The place behind the section's last line."""
    start = next(i for i, line in enumerate(lines) if line.split("#")[0].rstrip().startswith(f"{section}:"))
    after = (i for i, line in enumerate(lines[start + 1 :], start + 1) if line and not line[0].isspace())
    end = next(after, len(lines))
    while not lines[end - 1].strip():
        end -= 1
    return end
