"""COVID-19 Radiography Database: chest X-rays in four classes.

Chowdhury 2020, doi 10.1109/ACCESS.2020.3010287; Rahman 2021, doi 10.1016/j.compbiomed.2021.104319. Each class comes
mostly from sources of its own: `source` keeps what of the URL tells them apart, so that a report can show what a model
learns from it.
"""

from urllib.parse import urlsplit

import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.features import UNKNOWN
from medpipe.data.formats import IMAGES
from medpipe.data.missing import blanked
from medpipe.data.rows import ROWLESS, Problem, Rows, distinct
from medpipe.data.workbook import read_workbook
from medpipe.errors import InputError
from medpipe.params import Declaration

PAGES = ("c", "competitions", "data", "dataset", "datasets")  # Kaggle's, Mendeley's


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image, of `<class>/images/<class>-<n>.png` (older releases: no `images/`), with the URL of its row in
    `<class>.metadata.xlsx` where the archive has that. Lungs' masks (`masks/`) are passed over.

    Raises InputError for an archive without images, a folder of an unknown class, and an unreadable workbook.
    """
    images = [name for name in archive.images() if "masks" not in name.split("/")[:-1]]
    if not images:
        raise InputError(f"{archive.path}: holds no images; it must hold <class>/images/<class>-<n>.png")
    for name in images:
        if _folder(name) not in task.classes:
            raise InputError(
                f"{archive.path}: {name!r} lies in no folder of a class; rename it or move it out "
                f"(classes: {', '.join(task.classes)})"
            )
    # Within a class a second copy of a file may be passed over; the same id in two classes contradicts itself.
    files, problems = distinct(archive, images, lambda name: f"{_folder(name)}/{stem(name)}")
    paths = list(files.values())
    table = pd.DataFrame({"id": [stem(p) for p in paths], "path": paths, "label": [_folder(p) for p in paths]})
    twice = table["id"].duplicated(keep=False)
    problems = [problem._replace(id=stem(problem.path)) for problem in problems]
    problems += [
        Problem(i, path, "duplicate id: in two classes")
        for i, path in zip(table.loc[twice, "id"], table.loc[twice, "path"], strict=True)
    ]
    urls, names, listed = _urls(archive)
    known = set(table["id"].str.casefold()) | {problem.id.casefold() for problem in problems}
    problems += [Problem(name, "", "row without image") for key, name in names.items() if key not in known]
    table = table[~twice]
    no_row = table["label"].isin(listed) & ~table["id"].str.casefold().isin(urls.keys())
    problems += [
        Problem(i, path, ROWLESS) for i, path in zip(table.loc[no_row, "id"], table.loc[no_row, "path"], strict=True)
    ]
    table = table[~no_row]
    url = table["id"].map(lambda name: urls.get(name.casefold(), ""))
    return Rows(table.assign(group="", source=url.map(source_of), mask_path="", url=url), problems)


def source_of(url: str) -> str:
    """What tells sources apart: the host and the path's first two parts, in lower case, or "unknown".

    Parts that name a kind of page (PAGES) and the image's file tell none apart and are left out, so that
    https://www.kaggle.com/datasets/<owner>/<name> and kaggle.com/<owner>/<name>/data are one source, and two data sets
    or repositories of one host are two.
    """
    try:
        address = urlsplit((url if "://" in url else f"//{url}").casefold())
        host = address.hostname or ""
    except ValueError:
        return UNKNOWN
    if "." not in host or not host.isprintable() or " " in host:
        return UNKNOWN
    parts = [part for part in address.path.split("/") if part and part not in PAGES and not part.endswith(IMAGES)]
    return "/".join([host.removeprefix("www."), *parts[:2]])


def _folder(name: str) -> str:
    """The class that the path names."""
    folders = name.replace("!/", "/").split("/")[:-1]
    if folders and folders[-1].lower() == "images":
        folders.pop()
    return folders[-1] if folders else ""


def _urls(archive: Archive) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """URL and name by the name's lower case (the workbook says NORMAL-1 where the file is Normal-1.png), and the
    classes that have a workbook."""
    urls: dict[str, str] = {}
    names: dict[str, str] = {}
    books = [name for name in archive.names() if name.lower().endswith(".metadata.xlsx")]
    found, conflicts = distinct(archive, books, stem)
    if conflicts:
        raise InputError(f"{archive.path}: {', '.join(c.path for c in conflicts)} differ; keep one of them")
    for book in found.values():
        for name, url in read_workbook(archive, book, ("FILE NAME", "URL")).apply(blanked).itertuples(index=False):
            if not name:
                continue
            if urls.setdefault(name.casefold(), url) != url:
                raise InputError(f"{book}: FILE NAME {name!r} stands twice, with two URLs; remove one")
            names[name.casefold()] = name
    return urls, names, [name.removesuffix(".metadata") for name in found]
