"""From the name of a reader to its module. The imports are local, so that a stage imports its own reader alone.

A reader has `read_rows(archive, task) -> Rows`: an image a row, labels, groups and metadata as they stand in the
archive. What the rows say is checked by ingest against the task's declaration.
"""

from types import ModuleType


def reader_module(kind: str) -> ModuleType:
    """`medpipe.data.readers.<kind>`."""
    match kind:
        case "ham10000":
            from medpipe.data.readers import ham10000

            return ham10000
        case "lgg":
            from medpipe.data.readers import lgg

            return lgg
        case "radiography":
            from medpipe.data.readers import radiography

            return radiography
        case "folders":
            from medpipe.data.readers import folders

            return folders
        case "table":
            from medpipe.data.readers import table

            return table
        case "pairs":
            from medpipe.data.readers import pairs

            return pairs
        case "isic":
            from medpipe.data.readers import isic

            return isic
    raise ValueError(f"no reader {kind!r}")
