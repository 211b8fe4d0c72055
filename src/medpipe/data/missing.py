"""What stands for "not known" in a cell: one reading for every table of every archive, and for what is served.

What a task declares wins: a class, or a category's value (`features.read_category`), may be called so.
"""

import pandas as pd

# In lower case and without blanks around. The names that pandas, R, SQL, Excel and people write, and str() of their
# objects: None, NaN, pandas.NA, NaT.
WORDS = frozenset(
    {"", "-", "--", "?", "#n/a", "#na", "<na>", "-nan", "missing", "n.a.", "n/a", "na", "nan", "nat", "nil", "none"}
    | {"not available", "null", "unknown"}
)


def is_missing(values: pd.Series) -> pd.Series:
    """Which values, of any type, stand for "not known": None, NaN, NA, and WORDS in any case, with blanks around."""
    return values.astype(object).map(lambda value: str(value).strip().casefold() in WORDS).astype(bool)


def blanked(values: pd.Series) -> pd.Series:
    """Text, '' where it stands for "not known"."""
    return values.mask(is_missing(values), "")
