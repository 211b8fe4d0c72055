"""Records what each stage reads, of files and of values, below the folder that MEDPIPE_READS names, if there is one.

Python imports this module by itself before a program begins. A stage's worker processes count as the stage.
"""

import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = os.environ.get("MEDPIPE_READS")
ROOT = Path.cwd()
seen: set[str] = set()
paths: dict[int, str] = {}  # of settings, the key under which the values hold them
kept: list[Any] = []  # so that no id is given again


def note(kind: str, name: str) -> None:
    line = f"{kind} {name}\n"
    if line not in seen:
        seen.add(line)
        place = os.open(f"{FOLDER}/{os.environ['MEDPIPE_STAGE']}", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(place, line.encode())
        os.close(place)


def note_file(path: Any) -> None:
    if isinstance(path, str | bytes | os.PathLike):
        full = Path(os.fsdecode(path)).absolute()
        if full.is_relative_to(ROOT) and full.is_file():
            note("file", str(full.relative_to(ROOT)))


def hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and arguments[2] & os.O_ACCMODE != os.O_WRONLY:
        note_file(arguments[0])


def listen_to_pandas(module: Any) -> None:
    """Arrow opens files where Python does not hear of it."""
    read = module.read_parquet

    def read_parquet(path: Any, *args: Any, **named: Any) -> Any:
        note_file(path)
        return read(path, *args, **named)

    module.read_parquet = read_parquet


def listen_to_onnxruntime(module: Any) -> None:
    class InferenceSession(module.InferenceSession):
        def __init__(self, model: Any, *args: Any, **named: Any) -> None:
            if not isinstance(model, bytes):
                note_file(model)
            super().__init__(model, *args, **named)

    module.InferenceSession = InferenceSession


class Section(dict[str, Any]):
    """A section by name. Who asks whether it holds a name reads that key, and who goes through it reads it whole."""

    key: str

    def __contains__(self, name: object) -> bool:
        note("key", f"{self.key}.{name}")
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            note("key", f"{self.key}.{name}")
            return default

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if id(value) not in paths:
            note("key", f"{self.key}.{name}")
        return value

    def __iter__(self) -> Any:
        note("key", self.key)
        return super().__iter__()

    def keys(self) -> Any:
        note("key", self.key)
        return super().keys()

    def values(self) -> Any:
        note("key", self.key)
        return super().values()

    def items(self) -> Any:
        note("key", self.key)
        return super().items()


def listen_to_params(module: Any) -> None:
    """A field is read where it is asked for, and all of them where settings are dumped, copied or compared."""
    frozen, load = module.Frozen, module.load

    def track(value: Any, key: str) -> Any:
        if isinstance(value, frozen):
            paths[id(value)] = key
            for name in type(value).model_fields:
                vars(value)[name] = track(vars(value)[name], f"{key}.{name}".lstrip("."))
        elif isinstance(value, dict):
            value = Section({name: track(part, f"{key}.{name}") for name, part in value.items()})
            value.key = paths[id(value)] = key
        kept.append(value)
        return value

    def get(self: Any, name: str) -> Any:
        value = super(frozen, self).__getattribute__(name)
        if name in type(self).model_fields and id(value) not in paths and id(self) in paths:
            note("key", f"{paths[id(self)]}.{name}".lstrip("."))
        return value

    def whole(method: Any) -> Any:
        def call(self: Any, *args: Any, **named: Any) -> Any:
            if id(self) in paths:
                note("key", paths[id(self)])
            return method(self, *args, **named)

        return call

    def tracked(folder: Path = Path()) -> Any:
        params = track(load(folder), "")
        frozen.__getattribute__ = get
        for name in ("model_dump", "model_dump_json", "model_copy", "__iter__", "__eq__", "__repr__"):
            setattr(frozen, name, whole(getattr(frozen, name)))
        return params

    module.load = tracked


LISTENERS = {
    "pandas.io.parquet": listen_to_pandas,
    "onnxruntime.capi.onnxruntime_inference_collection": listen_to_onnxruntime,
    "medpipe.params": listen_to_params,
}


class Finder(importlib.abc.MetaPathFinder):
    """Calls a module's listener once it was imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in LISTENERS:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                LISTENERS[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


script, *arguments = [*sys.orig_argv[1:], ""]
if FOLDER and script.startswith("stages/") and script != "stages/repro.py":
    os.environ["MEDPIPE_STAGE"] = f"{Path(script).stem} {arguments[0]}".strip()
if FOLDER and "MEDPIPE_STAGE" in os.environ:
    sys.meta_path.insert(0, Finder())
    sys.addaudithook(hear)
