"""Train, val and test sets: stratified by class, grouped by lesion or patient, no image on two sides."""

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data import duplicates, features
from medpipe.errors import InputError
from medpipe.params import Declaration, Split

SETS = ("train", "val", "test")


def split(table: pd.DataFrame, task: Declaration, settings: Split) -> tuple[pd.DataFrame, dict, dict]:
    """Rows with their set, what is fitted to the training rows, and a report, of a clean table.

    - rows: id, label, group, set, source and the task's subgroup columns, in the table's order. `set` is train, val,
      test, external, or excluded for an external image that the archive holds too. `group` is the lesion or patient
      after merging those that share duplicates, also where the split is by image: intervals resample it.
    - stats: `features.fit` of the training rows; empty lists for a task without features.
    - report: `by`, rows and groups a class and set, merged duplicates, excluded ids; `leak`: the rows outside training
      whose lesion or duplicate is in training (0 where the split is by group; None in place of 0 where some images have
      no lesion or patient); `grouping`: what to say of those, '' where there are none.

    The order of the rows changes nothing. Raises InputError where a class does not reach a set.
    """
    table = table.reset_index(drop=True)
    pairs = duplicates.find(table, settings.near)
    group = duplicates.merge(table["group"], pairs)
    external = table["source"] == task.external
    excluded = external & group.isin(group[~external])
    unit = (table["id"] if settings.by == "image" else group)[~external]
    shares = {name: getattr(settings, name) for name in SETS}

    rows = pd.DataFrame({"id": table["id"], "label": table["label"], "group": group})
    if settings.by == "given":
        rows["set"] = _given(table[~external], group[~external], shares, settings.seed)
    else:
        rows["set"] = deal(unit, table.loc[~external, "label"], shares, settings.seed)
    rows.loc[external, "set"] = "external"
    rows.loc[excluded, "set"] = "excluded"
    rows["source"] = table["source"]
    for name in task.subgroups:
        rows[name] = table[name]

    check_classes(rows, shares)
    if settings.by == "group":
        check_apart(rows, table["group"], pairs)
    train = table[rows["set"] == "train"]
    return rows, features.fit(train, task.features), _report(rows, table, pairs, settings)


def deal(units: pd.Series, labels: pd.Series, shares: dict[str, float], seed: int) -> pd.Series:
    """The set of each row; the rows of a unit stay together.

    A unit counts for the rarest class among its rows. The units of a class are put in an order that only the seed and
    their own names decide, and are dealt by largest remainder: each set gets its share of them to within one unit, and
    a class of three units or more reaches every set that has a share. What rounding owes a set is carried over to the
    next class, so that the totals come out too.
    """
    frequency = labels.value_counts()
    rarest_first = sorted(frequency.index, key=lambda label: (frequency[label], label))
    stratum = labels.map({label: rank for rank, label in enumerate(rarest_first)}).groupby(units).min()
    owed = np.zeros(len(shares))
    dealt: dict[str, str] = {}
    for rank in range(len(rarest_first)):
        names = sorted(stratum.index[stratum == rank], key=lambda name: _draw(seed, name))
        counts = _seats(len(names), np.array(list(shares.values())), owed)
        owed += len(names) * np.array(list(shares.values())) - counts
        dealt |= zip(names, np.repeat(list(shares), counts).tolist(), strict=True)
    return units.map(dealt)


def _given(table: pd.DataFrame, group: pd.Series, shares: dict[str, float], seed: int) -> pd.Series:
    """The sets that the archive itself names; where it names none for validation, that is dealt of its training rows.

    Raises InputError where the reader kept no sets, or a row has none.
    """
    if "set" not in table:
        raise InputError("split.by: given, but the archive's sets were not kept; keep them in tasks.<task>.reader")
    known = table["set"].map(lambda name: {"valid": "val", "validation": "val", "training": "train"}.get(name, name))
    if (wrong := ~known.isin(SETS)).any():
        row = table[wrong].iloc[0]
        raise InputError(f"split.by: given, but {row['id']} is in the set {row['set']!r}; train, val or test wanted")
    if (known == "val").any():
        return known
    train = known == "train"
    share = shares["val"] / (shares["train"] + shares["val"])
    dealt = deal(group[train], table.loc[train, "label"], {"train": 1 - share, "val": share}, seed)
    return known.where(~train, dealt)


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _seats(units: int, shares: npt.NDArray[np.float64], owed: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many of a class's units each set gets: its exact number rounded down or up, up where most is owed."""
    exact = units * shares
    counts = np.floor(exact + 1e-9).astype(np.int64)
    due = np.where(exact - counts > 1e-9, owed + exact - counts, -np.inf)
    counts[np.argsort(-due, kind="stable")[: units - counts.sum()]] += 1
    for empty in np.flatnonzero((counts == 0) & (shares > 0)):
        if counts.max() > 1:
            counts[counts.argmax()] -= 1
            counts[empty] += 1
    return counts


def check_classes(rows: pd.DataFrame, shares: dict[str, float]) -> None:
    """Raise InputError where a class that is in the table is not in a set that has a share."""
    for label, sets in _counts(rows).items():
        absent = [name for name, share in shares.items() if share > 0 and not sets[name]]
        if absent:
            groups = rows.loc[rows["label"].eq(label) & rows["set"].isin(SETS), "group"].nunique()
            raise InputError(
                f"split: class {label} is absent from {', '.join(absent)}: it has {groups} groups (lesions, patients) "
                f"after merging duplicates, and every set needs one; add images of it, or lower split's `near` if it "
                f"took different images for duplicates"
            )


def check_apart(rows: pd.DataFrame, groups: pd.Series, pairs: pd.DataFrame) -> None:
    """Raise InputError where a group, of before or after merging, or two images of a pair are in two sets."""
    kept = rows["set"] != "excluded"
    for name, group in {"group": rows["group"], "group before merging": groups}.items():
        sets = rows.loc[kept, "set"].groupby(group[kept]).nunique()
        if (sets > 1).any():
            raise InputError(f"split: {name} {sets.index[sets > 1][0]} is in {sets.max()} sets; the split would leak")
    left, right = rows.iloc[pairs["left"]], rows.iloc[pairs["right"]]
    apart = (left["set"].to_numpy() != right["set"].to_numpy()) & kept[pairs["left"]].to_numpy()
    apart &= kept[pairs["right"]].to_numpy()
    if apart.any():
        first = int(apart.argmax())
        ids = f"{left['id'].iloc[first]} and {right['id'].iloc[first]}"
        raise InputError(f"split: {ids} show the same and are in two sets; the split would leak")


def _report(rows: pd.DataFrame, table: pd.DataFrame, pairs: pd.DataFrame, settings: Split) -> dict:
    seen = rows["group"].isin(rows.loc[rows["set"] == "train", "group"])
    leak = {name: int((seen & (rows["set"] == name)).sum()) for name in (*SETS[1:], "external")}
    said = _grouping(table)
    return {
        "by": settings.by,
        "seed": settings.seed,
        "near": settings.near,
        "rows": _counts(rows),
        "groups": _counts(rows.drop_duplicates(["group", "label", "set"])),
        "leak": {name: count or None for name, count in leak.items()} if said else leak,
        "grouping": said,
        "merged": _merged(table, pairs),
        "excluded": sorted(rows.loc[rows["set"] == "excluded", "id"]),
    }


def _grouping(table: pd.DataFrame) -> str:
    """What is said wherever nothing names the patient or lesion of some images; '' where something does of all."""
    ungrouped = table.loc[~table["grouped"], "group"]
    if ungrouped.empty:
        return ""
    which = "" if len(ungrouped) == len(table) else f"{len(ungrouped)} of {len(table)} images are "
    unit = "image" if ungrouped.is_unique else "file"  # a volume's slices, a file's frames stay together
    return f"{which}grouped by {unit}: the same patient may be on both sides"


def _counts(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Rows a class and set."""
    counts = pd.crosstab(rows["label"], rows["set"]).reindex(columns=[*SETS, "external"], fill_value=0)
    return {str(label): {str(name): int(n) for name, n in row.items()} for label, row in counts.iterrows()}


def _merged(table: pd.DataFrame, pairs: pd.DataFrame) -> list[dict]:
    """The pairs that tie two groups together, for a person to look at; nearest first."""
    found = []
    for left, right, distance, orientation in pairs.itertuples(index=False):
        a, b = sorted((table.loc[left], table.loc[right]), key=lambda row: row["id"])
        if a["group"] != b["group"]:
            same = bool(a["sha256"] == b["sha256"])
            pair = {key: [a[key], b[key]] for key in ("id", "group", "label")}
            found.append({**pair, "bits": int(distance), "orientation": orientation, "same_file": same})
    return sorted(found, key=lambda pair: (pair["bits"], pair["id"]))
