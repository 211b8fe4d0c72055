import hashlib
import json

import pytest
import yaml

from medpipe.verification.figures import differences, lines, quotations
from medpipe.verification.hashes import changed


def test_a_figure_that_differs_in_its_last_digit_is_named_by_its_key():
    stored = {"sets": {"test": {"f1": 0.61, "confusion": [[1, 2], [3, 4]], "absent": []}}}
    assert list(differences("r.json:", stored, json.loads(json.dumps(stored)))) == []
    other = {"sets": {"test": {"f1": 0.610000001, "confusion": [[1, 2], [3, 5]], "low": 0.5}}}
    assert list(differences("r.json:", stored, other)) == [
        "r.json: sets.test.f1: 0.61 is written, 0.610000001 comes out",
        "r.json: sets.test.confusion[1][1]: 4 is written, 5 comes out",
        'r.json: sets.test.absent: [] is written, "nothing" comes out',
        'r.json: sets.test.low: "nothing" is written, 0.5 comes out',
    ]


def test_a_figure_of_another_processors_last_bits_is_the_same():
    """Sums end in other bits with each BLAS kernel; what is no sum, as a count, must be the same."""
    stored = {"f1": 0.61, "p": 0.0, "n": 7, "low": -1.5}
    again = {"f1": 0.61 * (1 + 2**-45), "p": 3e-17, "n": 7, "low": -1.5 * (1 - 2**-48)}
    assert again["f1"] != stored["f1"]
    assert list(differences("r.json:", stored, again)) == []
    assert len(list(differences("r.json:", stored, again | {"low": float("nan"), "n": 8}))) == 2


def test_a_text_that_differs_is_named_by_its_line(tmp_path):
    (tmp_path / "card.md").write_text("# a\n\nF1 0.61\n")
    assert list(lines(tmp_path, "card.md", "# a\n\nF1 0.61\n")) == []
    assert list(lines(tmp_path, "card.md", "# a\n\nF1 0.62\n")) == [
        "card.md: line 3: 'F1 0.61' is written, 'F1 0.62' comes out"
    ]


def test_a_quoted_line_must_stand_in_the_file_that_it_is_quoted_from(tmp_path):
    (tmp_path / "table.md").write_text("| a | 0.61 |\n| b | 0.62 |\n")
    readme = tmp_path / "README.md"
    readme.write_text("Free: 0.7\n\n<!-- figures: table.md -->\n| b | 0.62 |\n<!-- end -->\n")
    assert list(quotations(tmp_path)) == []
    readme.write_text(readme.read_text().replace("0.62", "0.63"))
    assert list(quotations(tmp_path)) == ["README.md: not in table.md: | b | 0.63 |"]


@pytest.fixture
def locked(tmp_path):
    """A folder with the files `out/a`, `out/b` and `report.json`, as a dvc.lock and DVC's cache have them."""
    (tmp_path / "out").mkdir()
    for name, text in (("out/a", "1"), ("out/b", "2"), ("report.json", "{}")):
        (tmp_path / name).write_text(text)
    entries = [{"md5": hashlib.md5(text).hexdigest(), "relpath": name} for name, text in (("a", b"1"), ("b", b"2"))]
    listed = json.dumps(entries, sort_keys=True).encode()
    folder, file = hashlib.md5(listed).hexdigest() + ".dir", hashlib.md5(b"{}").hexdigest()
    kept = tmp_path / ".dvc/cache/files/md5" / folder[:2] / folder[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(listed)
    stages = {
        "train": {"outs": [{"path": "out", "md5": folder}]},
        "report": {"deps": [{"path": "out", "md5": folder}], "outs": [{"path": "report.json", "md5": file}]},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    return tmp_path


def test_a_byte_that_differs_from_the_lock_is_named_by_its_file(locked):
    assert list(changed(locked)) == []
    (locked / "out/b").write_text("3")
    (locked / "out/c").write_text("")
    (locked / "report.json").write_text("[]")
    assert sorted(changed(locked)) == [
        "out/b: other bytes, by dvc.lock",
        "out/c: a new file, by dvc.lock",
        "report.json: other bytes than dvc.lock says",
    ]


def test_a_lock_that_was_altered_with_a_file_contradicts_itself(locked):
    stages = yaml.safe_load((locked / "dvc.lock").read_text())["stages"]
    (locked / "report.json").write_text("[]")
    stages["report"]["outs"][0]["md5"] = hashlib.md5(b"[]").hexdigest()
    stages["page"] = {"deps": [{"path": "report.json", "md5": hashlib.md5(b"{}").hexdigest()}]}
    (locked / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    [said] = changed(locked)
    assert said.startswith("dvc.lock: page: report.json was read with other bytes than its stage wrote")
