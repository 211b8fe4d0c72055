"""A package's signature (OpenSSF model signing): its files are those that the holder of a key packaged.

`model_signing verify key PACKAGE --signature PACKAGE/model.sig --public_key KEY` says the same without our code.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from medpipe.errors import InputError

FILE = "model.sig"
UNSIGNED = (FILE, "registered_model_meta")  # the latter MLflow adds where it downloads
PRIVATE, PUBLIC = "MEDPIPE_PRIVATE_KEY", "MEDPIPE_PUBLIC_KEY"  # PEM files of an elliptic curve's keys (P-256)


def write(package: Path) -> None:
    """Sign the package with the key that MEDPIPE_PRIVATE_KEY names, if it is set. Raises InputError for a wrong key."""
    if key := os.environ.get(PRIVATE):
        library = _library(PRIVATE)
        try:
            signer = library.signing.Config().use_elliptic_key_signer(private_key=key)
        except (OSError, ValueError, TypeError) as error:
            raise _no_key(PRIVATE, key, error) from None
        signer.set_hashing_config(_hashing(library, UNSIGNED)).sign(package, package / FILE)


def check(package: Path, imported: bool) -> None:
    """Where MEDPIPE_PUBLIC_KEY is set, raises InputError for a package that is not signed with its private key, or of
    which a file was changed, added or removed since.

    Code of a package can no longer be kept from doing harm once it runs, so who has this library installed checks
    before: with `imported` false. Then a package's bytecode counts too, and Python writes none from then on. With
    `imported` true, as the package's own code asks, what Python has written in between is left out.
    """
    if not (key := os.environ.get(PUBLIC)):
        return
    library = _library(PUBLIC)
    try:
        verifier = library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise _no_key(PUBLIC, key, error) from None
    bytecode = [path.relative_to(package) for path in package.rglob("__pycache__")] if imported else []
    sys.dont_write_bytecode |= not imported
    try:
        verifier.set_hashing_config(_hashing(library, (*UNSIGNED, *bytecode))).verify(package, package / FILE)
    except Exception as error:  # cryptography's and protobuf's own
        told = f"{FILE} is not here" if isinstance(error, FileNotFoundError) else str(error) or "wrong signature"
        changed = [f"{name} was changed" for name in re.findall(r"Hash mismatch for \\?'(.+?)\\?':", told)]
        told = ", ".join(changed) or told  # which quotes whole hashes
        raise InputError(f"{package}: not signed by the holder of {PUBLIC}={key}: {told[:500]}; get it again") from None


def _library(setting: str) -> Any:
    try:
        import model_signing
    except ModuleNotFoundError as error:
        raise InputError(
            f"{setting} is set, but {error.name} is not installed; pip install model-signing pyopenssl"
        ) from None
    return model_signing


def _hashing(library: Any, ignored: tuple[str | Path, ...]) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


def _no_key(setting: str, key: str, error: Exception) -> InputError:
    return InputError(f"{setting}={key} is no PEM file of an elliptic curve's key without a password: {error}")
