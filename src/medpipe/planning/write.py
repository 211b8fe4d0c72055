"""Lines added to the files of values, which keep their comments and their order."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from medpipe import atomic, params
from medpipe.errors import InputError
from medpipe.params import FILE_OF, FILES


def check_name(task: str) -> None:
    """Raises InputError for a name that YAML takes for another value, or that DVC and MLflow cannot bear."""
    try:
        plain = yaml.safe_load(task) == task and not task.replace("e", "").replace("E", "").isdigit()  # 1e5 in YAML 1.2
    except yaml.YAMLError:
        plain = False
    if not plain or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", task):
        raise InputError(
            f"TASK={task}: letters, digits, - and _ wanted, and no number, yes, no or null, such as retina-2"
        )


def write(folder: Path, sections: Mapping[str, Sequence[str]]) -> list[str]:
    """Add to the end of each section its lines, and say which sections changed; one that has such a key stays as it is.

    Writes nothing where the task is there already. Raises InputError, and writes nothing, where the files would not be
    valid then.
    """
    values = params.read(folder)
    params.checked(values, folder)
    tasks = [line.strip().split(":")[0] for line in sections.get("tasks", ()) if re.match(r"  \S", line)]
    if any(task in values["tasks"] for task in tasks):
        return []
    lines = {file: (folder / file).read_text(encoding="utf-8").splitlines() for file in FILES}
    added = []
    for section, new in sections.items():
        keys = [line.strip().split(":")[0] for line in new if line.startswith("  ") and not line.startswith("   ")]
        if any(key in values[section] for key in keys):
            continue
        own = lines[FILE_OF[section]]
        place = _end(own, section)
        if not values[section]:  # `fusions: {}`
            own[place - 1] = f"{section}:"
        own[place:place] = new
        added.append(section)
    texts = {file: "\n".join(own) + "\n" for file, own in lines.items()}
    found = {file: params.parse(text, str(folder / file)) for file, text in texts.items()}
    params.checked(params.sections(found, folder), folder)
    for file in dict.fromkeys(FILE_OF[section] for section in added):
        with atomic.file(folder / file) as temporary:
            temporary.write_text(texts[file], encoding="utf-8")
    return added


def _end(lines: Sequence[str], section: str) -> int:
    """The place behind the section's last line."""
    start = next(i for i, line in enumerate(lines) if line.split("#")[0].rstrip().startswith(f"{section}:"))
    after = (i for i, line in enumerate(lines[start + 1 :], start + 1) if line and not line[0].isspace())
    end = next(after, len(lines))
    while not lines[end - 1].strip():
        end -= 1
    return end
