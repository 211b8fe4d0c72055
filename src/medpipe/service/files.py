"""`medpipe predict`: a model's answers to files, as a table."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from medpipe import atomic
from medpipe.data import nifti
from medpipe.errors import InputError
from medpipe.service.rows import IMAGE
from medpipe.service.served import Served, find, load

BATCH = 32
WRITERS = (".csv", ".parquet")


def predict(model: str, inputs: Sequence[Path], out: Path, masks: Path | None) -> int:
    """Write the answers to `out`, and masks to files of the folder `masks`. Returns 1 where a row is wrong, else 0.

    The table has the columns of the CSV or `image`, but for those that are named as an answer is, the answers, `error`,
    and model, version and sha256; `mask` holds the name of the PNG, of a volume of the .nii.gz. Raises InputError where
    nothing can be answered.
    """
    if out.suffix not in WRITERS:
        raise InputError(f"{out}: a table that ends in {' or '.join(WRITERS)} wanted")
    cases, images = read(inputs)
    # Whoever runs the command may read these files anyway.
    served = load(find(model), image_root="/")
    if missing := [name for name in served.inputs if name not in cases]:
        raise InputError(
            f"{', '.join(map(str, inputs))}: columns missing: {', '.join(missing)}; the model reads "
            f"{', '.join(served.inputs)}: give a CSV that has them (an empty cell of metadata stands for unknown)"
        )
    if masks is not None and "mask" not in served.outputs:
        raise InputError(f"--masks: {model} gives none, but {', '.join(served.outputs)}")
    if taken := [name for name in (*served.outputs, "error", *served.about) if name in cases]:
        print(f"columns {', '.join(taken)}: left out of {out}, where the model's answers have these names")
        cases = cases.drop(columns=taken)
    with nullcontext() if masks is None else atomic.folder(masks) as folder:
        answers = pd.concat(list(_answers(cases.assign(**images), served, folder)), ignore_index=True)
    found = pd.concat([cases, answers], axis=1)
    with atomic.file(out) as file:
        if out.suffix == ".csv":
            found.to_csv(file, index=False)
        else:
            found.to_parquet(file, index=False)
    wrong = int(found["error"].notna().sum())
    print(f"{out}: {len(found)} rows, {wrong} of them not answered{_why(found)}")
    if masks is None and "mask" in served.outputs:
        print("masks: left out; --masks FOLDER writes them")
    return int(wrong > 0)


def _why(found: pd.DataFrame) -> str:
    """The first error, and of which row."""
    wrong = found["error"].dropna()
    if wrong.empty:
        return ""
    row = wrong.index[0]
    image = found[IMAGE][row] if IMAGE in found else ""
    named = image if image.strip() and image[:5].lower() != "data:" else f"row {row} (from 0)"
    return f", first {named}: {wrong[row]}"


def read(inputs: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The cases that files, a folder (its files, by name) or a CSV name, and the column of the images' absolute paths.

    Raises InputError for what is not there, or empty.
    """
    if missing := [str(path) for path in inputs if not path.exists()]:
        raise InputError(f"{', '.join(missing[:5])}: not there")
    folder = Path.cwd()
    if len(inputs) == 1 and inputs[0].suffix.lower() == ".csv":
        cases, folder = _table(inputs[0]), inputs[0].absolute().parent
    elif paths := [path for given in inputs for path in (_inside(given) if given.is_dir() else [given])]:
        cases = pd.DataFrame({IMAGE: [str(path) for path in paths]})
    else:
        raise InputError(f"{', '.join(map(str, inputs))}: no file in it")
    if IMAGE not in cases:
        return cases, {}
    given = (cell if not cell.strip() or cell[:5].lower() == "data:" else str(folder / cell) for cell in cases[IMAGE])
    return cases, {IMAGE: [*given]}


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # of which pandas' and Unicode's own are
        raise InputError(f"{path}: no CSV in UTF-8: {error}") from None
    if table.empty:
        raise InputError(f"{path}: no row")
    return table


def _inside(folder: Path) -> list[Path]:
    """A folder's files, hidden ones left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part[0] == "." for part in path.relative_to(folder).parts))


def _answers(cases: pd.DataFrame, served: Served, masks: Path | None) -> Iterator[pd.DataFrame]:
    """The answers to BATCH rows at a time. Masks are written to the folder `masks`, and none is kept: `mask` has their
    names, the rows' numbers, since files of two folders may have one name."""
    columns, width = list(served.inputs), len(str(len(cases) - 1))
    with tqdm(total=len(cases), desc="predict", unit="row", disable=None) as bar:
        for start in range(0, len(cases), BATCH):
            part = cases[columns].iloc[start : start + BATCH].reset_index(drop=True)
            answers = served.predict(part).reindex(columns=[*served.outputs, "error"]).assign(**served.about)
            if "mask" in served.outputs:
                names = [f"{row:0{width}}" for row in range(start, start + len(part))]
                answers["mask"] = [_write(mask, masks, name) for mask, name in zip(answers["mask"], names, strict=True)]
            yield answers
            bar.update(len(part))


def _write(mask: bytes | None, folder: Path | None, stem: str) -> str | None:
    """The file's name, where there is a mask and a folder for it."""
    if folder is None or not isinstance(mask, bytes):
        return None
    name = stem + (".nii.gz" if mask.startswith(nifti.GZIP) else ".png")
    (folder / name).write_bytes(mask)
    return name
