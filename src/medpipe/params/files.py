"""The files that hold the values, each with sections of its own.

DVC reads a file once a stage that depends on it, so that `dvc repro` is faster with small ones.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medpipe.errors import InputError

FILES = {
    "data.yaml": ("tasks", "phantom", "ingest", "clean", "split", "explore", "image_size", "prepare"),
    "params.yaml": ("seed", "deterministic", "scale", "scales", "train", "bases", "models", "fusions"),
    "generation.yaml": ("generators", "generator_caps"),
    "evaluation.yaml": ("evaluate", "compare", "probes", "registry"),
}
FILE_OF = {section: file for file, sections in FILES.items() for section in sections}


class _Loader(yaml.CSafeLoader):  # in C: ten times as fast
    """YAML 1.2's floats: PyYAML reads `2e-05`, which DVC writes, as a string (YAML 1.1 wants a dot and a sign)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def read(folder: Path = Path()) -> dict[str, Any]:
    """The sections of all FILES, unvalidated. Raises InputError as `read_file` and `sections` do."""
    return sections({file: read_file(folder / file) for file in FILES}, folder)


def sections(found: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """The sections in one, of what each of FILES holds. Raises InputError for one that its file cannot have."""
    for file, values in found.items():
        for section in values:
            if FILE_OF.get(section) != file:
                raise InputError(f"{folder / file}: {section}: unknown key; the file holds {', '.join(FILES[file])}")
    return {section: value for values in found.values() for section, value in values.items()}


def write(folder: Path, values: Mapping[str, Any]) -> None:
    """The sections to their files, without comments."""
    for file, names in FILES.items():
        own = {name: values[name] for name in names if name in values}
        (folder / file).write_text(yaml.safe_dump(own, sort_keys=False, allow_unicode=True), encoding="utf-8")


def read_file(path: Path) -> dict[str, Any]:
    """The file's mapping. Raises InputError where there is none or it is no YAML mapping."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the stages from the repository's root") from None


def parse(text: str, source: str) -> dict[str, Any]:
    """The mapping that the YAML `text` holds. Raises InputError, naming `source`, where it is none."""
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{source}: must be a mapping of sections, is {type(values).__name__}")
    return values
