"""Whether the files of a finished run have the bytes that dvc.lock says: archives, data, models, reports."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

CODE = "code"  # the stage whose dependencies are the code, which may change after a run


def changed(root: Path) -> Iterator[str]:
    """A line for each file of `root` that is not as dvc.lock has it, and for each entry of dvc.lock that contradicts
    another: of what a stage wrote another one read other bytes.
    """
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    written = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}
    archives: dict[str, str] = {}
    for name, stage in stages.items():
        for dep in stage.get("deps", ()) if name != CODE else ():
            path, md5 = dep["path"], dep["md5"]
            if written.get(path, md5) != md5:
                yield f"dvc.lock: {name}: {path} was read with other bytes than its stage wrote; run `dvc repro`"
            elif path not in written and not any(out.startswith(f"{path}/") for out in written):
                archives[path] = md5
    for path, md5 in {**written, **archives}.items():
        yield from _differs(root, path, md5)


def _differs(root: Path, path: str, md5: str) -> Iterator[str]:
    place = root / path
    if not place.exists():
        yield f"{path}: not here; `dvc pull` or `dvc checkout` brings it"
    elif place.is_file():
        if _md5(place) != md5:
            yield f"{path}: other bytes than dvc.lock says"
    else:
        now = {file.relative_to(place).as_posix(): _md5(file) for file in sorted(place.rglob("*")) if file.is_file()}
        # As DVC hashes a folder.
        entries = [{"md5": now[name], "relpath": name} for name in sorted(now)]
        if hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir" == md5:
            return
        kept = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        if not kept.exists():
            yield f"{path}: other files or bytes than dvc.lock says"
            return
        then = {entry["relpath"]: entry["md5"] for entry in json.loads(kept.read_text())}
        for name in sorted(then.keys() | now):
            if then.get(name) != now.get(name):
                said = "gone" if name not in now else "a new file" if name not in then else "other bytes"
                yield f"{path}/{name}: {said}, by dvc.lock"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
