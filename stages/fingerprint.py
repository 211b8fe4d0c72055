"""Write what the code of each stage is: `python stages/fingerprint.py`. Other stages depend on their own line of it."""

import json
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.fingerprint import fingerprint, keys

OUTPUT = Path("reports/code.json")


def main() -> None:
    found: dict[str, str | dict[str, str]] = {}
    for script in sorted(Path(__file__).resolve().parent.glob("*.py")):
        chosen = keys(script)
        found[script.stem] = {key: fingerprint(script, key) for key in chosen} or fingerprint(script)
    with atomic.file(OUTPUT) as path:
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
