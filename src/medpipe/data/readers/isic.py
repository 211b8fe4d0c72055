"""An export of the ISIC archive, api.isic-archive.com: `metadata.csv` beside `<isic_id>.jpg`."""

from medpipe.data.archive import Archive, stem
from medpipe.data.missing import blanked
from medpipe.data.readers import table as tables
from medpipe.data.rows import Rows
from medpipe.data.tables import read_any
from medpipe.errors import InputError
from medpipe.params import Column, Declaration, Isic, Table

# The archive's columns, by what a task's features and subgroups may be called.
COLUMNS = {"age": "age_approx", "localization": "anatom_site_general", "dx_type": "diagnosis_confirm_type"}


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image; those that share a patient or a lesion are of one group, and without both of none.

    Raises InputError for an archive without one `metadata.csv`, or where that lacks a column.
    """
    assert isinstance(task.reader, Isic)
    found = [name for name in archive.names() if stem(name) == "metadata" and name.lower().endswith(".csv")]
    if len(found) != 1:
        raise InputError(f"{archive.path}: one metadata.csv wanted, as the ISIC archive exports it; has {len(found)}")
    listed, _ = read_any(archive, found[0], ["isic_id", task.reader.label])
    columns = {name: column for name, column in COLUMNS.items() if name not in listed and column in listed}
    groups = [name for name in ("patient_id", "lesion_id") if name in listed and (blanked(listed[name]) != "").any()]
    reader = Table(
        kind="table", file=found[0], images="", image="isic_id", mask=None, label=task.reader.label,
        codes=task.reader.codes, source="attribution" if "attribution" in listed else None, set=None, columns=columns,
        group=Column(column=tuple(groups)) if groups else None, ungrouped=task.reader.ungrouped,
    )  # fmt: skip
    return tables.read_rows(archive, task.model_copy(update={"reader": reader}))
