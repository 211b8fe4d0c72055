"""What the phantoms' tests share."""

from pathlib import Path

import pytest


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def written_twice(tmp_path):
    """Call `write` twice with the same settings and give both trees."""

    def twice(write, settings):
        trees = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            write(tmp_path / name, settings)
            trees.append(tree(tmp_path / name))
        return trees

    return twice
