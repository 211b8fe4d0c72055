import numpy as np
import pytest

from medpipe.errors import InputError
from medpipe.models.delivery import OutOfFold


def test_out_of_fold_outputs_survive_and_a_damaged_file_is_named(tmp_path):
    assert OutOfFold.read(tmp_path) is None
    OutOfFold(np.arange(3), np.array([[0.1], [0.2], [0.7]])).write(tmp_path)
    found = OutOfFold.read(tmp_path)
    assert found is not None
    assert found.rows.tolist() == [0, 1, 2]
    assert found.output.ravel().tolist() == [0.1, 0.2, 0.7]
    path = tmp_path / "out_of_fold.npz"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="out_of_fold.npz: damaged or of another version"):
            OutOfFold.read(tmp_path)
