"""The names of a manifest's columns, and of classes that are merged."""

from collections.abc import Mapping, Sequence

from medpipe.errors import SettingError

# What ingest says of every image; behind these a manifest has the columns that its archive gives.
COLUMNS = (
    "id", "path", "sha256", "bytes", "width", "height", "phash", "label", "group", "grouped",
    "source", "mask_path", "mask_sha256",
)  # fmt: skip
# And of every slice of a volume: the volume's file, the slice's place in it, mm to the next, mm of a pixel.
VOLUME = ("volume", "slice", "mm_between", "mm_down", "mm_across")


def merged_classes(classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The classes in their order without those that `merge` ({new: [old, ...]}) takes in, then the new ones.

    Raises SettingError where `merge` names an unknown class, takes one twice, or makes one that is there already.
    """
    taken = [old for olds in merge.values() for old in olds]
    kept = [name for name in classes if name not in taken]
    for name in taken:
        if name not in classes or taken.count(name) > 1:
            raise SettingError(f"merge: {name!r} must be named once and be one of {', '.join(classes)}")
    for name in merge:
        if name in kept:
            raise SettingError(f"merge: {name!r} is a class already; name the new class otherwise or merge it too")
    return (*kept, *merge)
