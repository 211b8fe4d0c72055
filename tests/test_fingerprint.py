"""A stage's hash follows what it imports, and nothing else changes it."""

import shutil

import pytest

from medpipe import fingerprint as module
from medpipe.fingerprint import fingerprint, keys

FILES = {
    "src/medpipe/__init__.py": "",
    "src/medpipe/errors.py": "ERROR = 1\n",
    "src/medpipe/params/__init__.py": "VALUE = 1\n",
    "src/medpipe/leaf.py": (
        '"""A leaf."""\nfrom medpipe.params import VALUE\n\ndef f(x):\n    """Doubled."""\n    return 2 * x\n'
    ),
    "src/medpipe/page.py": 'TEMPLATE = "page.j2"\n',
    "src/medpipe/page.j2": "<p>",
    "src/medpipe/models/__init__.py": "",
    "src/medpipe/models/a.py": "A = 1\n",
    "src/medpipe/models/b.py": "from medpipe import leaf\n",
    "src/medpipe/models/build.py": (
        "def build(name):\n    match name:\n"
        "        case 'one':\n            from medpipe.models import a\n\n            return a.A\n"
        "        case 'two':\n            from medpipe.models import b\n\n            return b\n"
    ),
    "stages/small.py": "from medpipe.leaf import f\nfrom medpipe import page\n",
    "stages/train.py": "from medpipe.errors import ERROR\nfrom medpipe.models.build import build\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "SOURCE", tmp_path / "src")
    return tmp_path


def hashes(project):
    module._parsed.cache_clear()
    train = project / "stages/train.py"
    return {
        "small": fingerprint(project / "stages/small.py"),
        "a": fingerprint(train, "a"),
        "b": fingerprint(train, "b"),
        "both": fingerprint(train),
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("src/medpipe/leaf.py", "2 * x", "3 * x", {"small", "b", "both"}),
        ("src/medpipe/leaf.py", "2 * x", "2*x  # twice", set()),
        ("src/medpipe/leaf.py", "Doubled", "Twice as much", set()),
        ("src/medpipe/leaf.py", '"""A leaf."""\n', "", set()),
        ("src/medpipe/params/__init__.py", "VALUE = 1", "VALUE = 2", set()),
        ("src/medpipe/errors.py", "ERROR = 1", "ERROR = 2", set()),
        ("src/medpipe/page.j2", "<p>", "<h1>", {"small"}),
        ("src/medpipe/models/a.py", "A = 1", "A = 2", {"a", "both"}),
        ("src/medpipe/models/__init__.py", "", "X = 1", {"a", "b", "both"}),
        ("src/medpipe/models/build.py", "return a.A", "return a.A + 1", {"a", "both"}),
        ("src/medpipe/models/build.py", "match name:", "match name + '':", {"a", "b", "both"}),
        ("stages/train.py", "import build", "import build as made", {"a", "b", "both"}),
    ],
)
def test_an_edit_changes_the_hash_of_what_imports_it(project, name, old, new, changed):
    before, path = hashes(project), project / name
    path.write_text(path.read_text().replace(old, new, 1))
    after = hashes(project)
    assert {key for key in before if before[key] != after[key]} == changed


def test_a_script_is_told_by_its_text_and_not_by_its_place(project):
    before = hashes(project)["small"]
    shutil.move(project / "stages", project / "elsewhere")
    module._parsed.cache_clear()
    assert fingerprint(project / "elsewhere/small.py") == before


def test_the_keys_are_those_between_which_a_match_chooses(project):
    module._parsed.cache_clear()
    assert keys(project / "stages/train.py") == ["a", "b"]
    assert keys(project / "stages/small.py") == []
