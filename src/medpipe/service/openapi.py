"""What the service tells of itself: OpenAPI, with the model's own example, which works."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from medpipe.service.rows import CASE, IMAGE
from medpipe.service.served import Served
from medpipe.service.settings import Settings


def described(app: FastAPI, served: Served, settings: Settings) -> dict[str, Any]:
    """The OpenAPI description of the app with the model `served`."""
    found = get_openapi(
        title=app.title, version=served.version.number or "", description=app.description, routes=app.routes
    )
    [example] = json.loads(served.example.to_json(orient="records"))
    texts = {"type": ["string", "number", "null"], "description": "null: unknown"}
    uri = {"type": "string", "description": "data:image/jpeg;base64,... ; a path is refused"}
    row = {name: uri if name == IMAGE else texts for name in served.inputs}
    case = {"type": "string", "description": "of which patient or study the row is, a pseudonym; may be left out"}
    one = {
        "type": "object",
        "properties": row | {CASE: case},
        "required": list(served.inputs),
        "additionalProperties": False,
    }
    rows = {"type": "array", "items": one, "minItems": 1, "maxItems": settings.max_rows}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {
        name: files if name == IMAGE else {"type": "array", "items": {"type": "string"}}
        for name in (*served.inputs, CASE)
    }
    found["paths"]["/predict"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"rows": rows}, "required": ["rows"]},
                "example": {"rows": [example]},
            },
            "multipart/form-data": {"schema": {"type": "object", "properties": form}},
        },
    }
    asked = {"type": "object", "properties": {"row": one, "class": {"type": "string"}}, "required": ["row"]}
    found["paths"]["/explain"]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": asked, "example": {"row": example}}},
    }
    nullable = {name: {"description": "null where the row is wrong"} for name in served.outputs}
    about = {name: {"type": ["string", "null"]} for name in ("error", *served.about)}
    answer = {"type": "object", "properties": {"row": {"type": "integer"}, **nullable, **about}}
    body = {"type": "object", "properties": {"rows": {"type": "array", "items": answer}}}
    problem = {"type": "object", "properties": {"error": {"type": "string"}, "request": {"type": "string"}}}
    paths = found["paths"]
    paths["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] = body
    for status, says in (
        ("400", "No JSON, or no form"), ("408", "Too slow"), ("413", "Too large"), ("415", "Neither JSON nor a form"),
        ("422", "Not of this shape"), ("503", "Too much at once"),
    ):  # fmt: skip
        for path in ("/predict", "/explain"):
            content = {"application/json": {"schema": problem}}
            paths[path]["post"]["responses"][status] = {"description": says, "content": content}
    return found
