"""The command `medpipe`, for those who use a trained model; `make help` lists what trains one.

Exit status: 0 all is well, 1 some rows are wrong, 2 nothing was done, 3 drift.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from medpipe.errors import InputError
from medpipe.service.settings import Settings

MODEL = "models:/skin-classifier@champion, models:/NAME/VERSION, or a package's folder"
SERVE = {
    "host": "address to listen on",
    "port": "port to listen on",
    "max_rows": "rows a request, at most",
    "max_body": "bytes a request, at most",
    "max_held": "bytes of all requests at once, at most",
    "max_pixels": "pixels an image, at most",
    "max_connections": "connections, at most",
    "max_batch": "rows that go through the model at once",
    "max_wait": "seconds that a row waits for others",
    "header_seconds": "seconds for a request's head",
    "body_seconds": "seconds for a request's body",
    "stop_seconds": "seconds for running requests when the service stops",
    "poll_seconds": "seconds between two looks at where the alias points",
    "log": "folder for answers and embeddings, which `medpipe drift` reads",
}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        return _run(asked)
    except InputError as error:
        print(f"medpipe: {error}", file=sys.stderr)
        return 2


def _run(asked: argparse.Namespace) -> int:
    match asked.command:
        case "predict":
            from medpipe.service import files

            return files.predict(asked.model, asked.inputs, asked.out, asked.masks)
        case "serve":
            from medpipe.service import run

            return run.serve(Settings(asked.model, **{name: getattr(asked, name) for name in SERVE}))
        case _:
            from medpipe.drift import watch

            return watch.check(asked.logs, asked.validation, asked.page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medpipe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    predict = commands.add_parser("predict", help="answers to files, as a table")
    predict.add_argument("model", help=MODEL)
    predict.add_argument("inputs", nargs="+", type=Path, help="images, a folder of them, or a CSV with a column image")
    predict.add_argument("--out", required=True, type=Path, help="the table: .csv or .parquet")
    predict.add_argument("--masks", type=Path, help="folder for a segmenter's masks, as PNG, of volumes as .nii.gz")

    serve = commands.add_parser("serve", help="answers over HTTP", formatter_class=argparse.MetavarTypeHelpFormatter)
    serve.add_argument("model", type=str, help=MODEL)
    for field in fields(Settings):
        if field.name in SERVE:
            default = "" if field.default is None else f" ({field.default})"
            kind = Path if field.name == "log" else type(field.default)
            option = f"--{field.name.replace('_', '-')}"
            serve.add_argument(option, type=kind, default=field.default, help=SERVE[field.name] + default)

    drift = commands.add_parser("drift", help="whether logged answers still come from the validation's distribution")
    drift.add_argument("logs", type=Path, help="the folder of `medpipe serve --log`")
    drift.add_argument("--validation", type=Path, help="the model's prediction table; its run's, if not given")
    drift.add_argument("--page", type=Path, help="an HTML page to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
