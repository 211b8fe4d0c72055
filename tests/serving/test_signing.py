import shutil

import keras
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from declared import PLAIN

from medpipe.errors import InputError
from medpipe.service import served
from medpipe.serving import manifest, package, signing
from medpipe.serving.predictor import load


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two private keys, `a.pem` and `b.pem`, and beside each its public one, `a.pub`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        key = generate_private_key(SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def signed(deliver, keys, tmp_path_factory):
    """A package of a model of a table, signed with key a."""
    folder, inputs = tmp_path_factory.mktemp("signed"), keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    table = {"task": "skin", "kind": "table", "features": {"age": {"range": (0, 120), "bands": ()}}}
    about = {"classes": ("mel", "nv"), "variants": (table,), "features": (("age",),)}
    delivered = deliver(folder / "skin-mlp", model, **about)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDPIPE_PRIVATE_KEY", str(keys / "a.pem"))
        package.save(delivered, folder / "package", 100, PLAIN)
    return folder / "package"


@pytest.fixture
def copy(signed, tmp_path):
    return shutil.copytree(signed, tmp_path / "other name", ignore=shutil.ignore_patterns("__pycache__"))


def test_a_signed_package_is_loaded_by_the_holder_of_the_public_key(copy, keys, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setenv("MEDPIPE_PUBLIC_KEY", str(keys / "a.pub"))
    (copy / "registered_model_meta").touch()
    case = pd.DataFrame({"age": [40]})
    answer = load(copy).predict(case)
    assert answer["error"][0] is None
    for _ in range(2):  # the first leaves nothing that the second would refuse
        loaded = served.load(served.Version(str(copy), "m", None), max_pixels=100)
        pd.testing.assert_frame_equal(loaded.predict(case)[list(answer)], answer)


def test_who_gives_no_key_needs_no_signature(copy):
    (copy / signing.FILE).unlink()
    load(copy)


def test_without_a_key_a_package_is_not_signed(tmp_path):
    signing.write(tmp_path)
    assert not [*tmp_path.iterdir()]


def reword(copy):
    (copy / "data/skin-mlp/recipe.json").write_text((copy / "data/skin-mlp/recipe.json").read_text() + " ")
    manifest.write(copy)  # as who changes a file on purpose does


def compiled(copy):
    [code] = (copy / "code").iterdir()
    (code / "__pycache__").mkdir()
    (code / "__pycache__/errors.cpython-311.pyc").touch()


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        (reword, "a", "data/skin-mlp/recipe.json was changed, manifest.json was changed;"),
        (lambda copy: (copy / "code/more.py").touch(), "a", r"Extra files found .*: code/more.py"),
        (compiled, "a", r"Extra files found .*: code/\w+/__pycache__/errors.cpython-311.pyc"),
        (lambda copy: (copy / "MLmodel").unlink(), "a", "Missing files .*: MLmodel"),
        (lambda copy: (copy / signing.FILE).unlink(), "a", "model.sig is not here"),
        (lambda copy: (copy / signing.FILE).write_text("{}"), "a", ""),
        (lambda copy: None, "b", "Key mismatch"),
    ],
)
def test_what_is_not_signed_with_the_key_is_refused_by_name(copy, keys, monkeypatch, change, key, message):
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # which it is set to, and set back
    monkeypatch.setenv("MEDPIPE_PUBLIC_KEY", str(keys / f"{key}.pub"))
    change(copy)
    with pytest.raises(InputError, match=rf"other name: not signed by the holder of .*{key}\.pub: .*{message}"):
        signing.check(copy, imported=False)


def test_a_package_that_was_changed_on_purpose_is_refused_on_load(copy, keys, monkeypatch):
    monkeypatch.setenv("MEDPIPE_PUBLIC_KEY", str(keys / "a.pub"))
    reword(copy)
    with pytest.raises(InputError, match="data/skin-mlp/recipe.json was changed"):
        load(copy)


def test_a_signature_of_another_payload_is_refused(copy, keys, monkeypatch):
    """The key's hint is right, and so is what is signed; the signature is not."""
    monkeypatch.setenv("MEDPIPE_PUBLIC_KEY", str(keys / "a.pub"))
    text = (copy / signing.FILE).read_text()
    start = text.index('"sig"')
    (copy / signing.FILE).write_text(text[:start] + text[start:].replace("A", "B").replace("C", "D"))
    with pytest.raises(InputError, match="not signed by the holder"):
        signing.check(copy, imported=True)


@pytest.mark.parametrize(
    ("setting", "act"),
    [("MEDPIPE_PRIVATE_KEY", signing.write), ("MEDPIPE_PUBLIC_KEY", lambda copy: signing.check(copy, True))],
)
@pytest.mark.parametrize("file", ["none.pem", "MLmodel"])
def test_a_file_that_is_no_key_is_named(copy, monkeypatch, setting, act, file):
    monkeypatch.setenv(setting, str(copy / file))
    with pytest.raises(InputError, match=rf"^{setting}=.*{file} is no PEM file"):
        act(copy)
