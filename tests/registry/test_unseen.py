"""Which rows a champion of another split has not seen."""

import pandas as pd

from medpipe.registry.unseen import is_known


def test_a_row_is_known_by_its_group_then_and_by_an_image_of_its_group_now():
    seen = pd.DataFrame({"id": ["a", "b", "c"], "group": ["one", "two", "three"], "set": ["train", "val", "test"]})
    # `d` is a near duplicate of `a`, so that both are of the group `new`; `e` is another image of the lesion `two`.
    rows = pd.DataFrame({"id": ["a", "d", "e", "c", "f"], "group": ["new", "new", "two", "three", "four"]})
    assert is_known(rows, seen).tolist() == [True, True, True, False, False]
