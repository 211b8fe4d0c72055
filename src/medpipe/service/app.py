"""The service's endpoints."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from medpipe.service import openapi, served
from medpipe.service.answers import combined, embeddings
from medpipe.service.batching import Batcher
from medpipe.service.guard import Guard, declared
from medpipe.service.heat import explained
from medpipe.service.log import Log
from medpipe.service.metrics import Metrics
from medpipe.service.rows import BadRequestError, Rows, decoded, from_form, from_json, wrong
from medpipe.service.served import Served
from medpipe.service.settings import Settings

PATHS = frozenset({"/predict", "/explain", "/model", "/health", "/metrics", "/docs", "/openapi.json"})
NOTICE = "No medical device: for research, not for diagnosis."

log = logging.getLogger("medpipe.service")


class InMemory(MultiPartParser):
    """Starlette's parser puts what is larger than this on disk."""

    spool_max_size = 2**62


def create(settings: Settings, first: Served) -> Guard:
    """The app, which answers by `first` until the alias moves."""
    metrics = Metrics()
    metrics.serves(first)
    explaining = asyncio.Semaphore(1)  # each asks the model hundreds of times
    answers = None if settings.log is None else Log(settings.log)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = app.state.batcher = Batcher(first, settings, metrics)
        following = asyncio.create_task(_follow(batcher, settings, metrics))
        yield
        following.cancel()
        await batcher.close()
        if answers is not None:
            answers.write()

    app = FastAPI(
        title=f"medpipe: {first.version.name}",
        description=NOTICE,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.openapi = lambda: openapi.described(app, app.state.batcher.served, settings)  # type: ignore[method-assign]

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _problem(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(BadRequestError)
    async def bad(request: Request, error: BadRequestError) -> Response:
        return _problem(request, error.status, str(error))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # which nobody reads

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return _problem(request, 500, "internal error; the service's log has it under this id")

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Answers by row: what the model says of it, its out-of-distribution score, or what is wrong with it."""
        batcher: Batcher = request.app.state.batcher
        rows = await _rows(request, batcher.served, settings)
        by, said = await batcher.answer(rows.sound)
        told = await run_in_threadpool(combined, rows, by, said)
        failed = sum(row["error"] is not None for row in told)
        metrics.rows.labels("wrong").inc(failed)
        metrics.rows.labels("answered").inc(len(told) - failed)
        if answers is not None and answers.add(request.state.id, told, embeddings(rows, said), rows.said):
            await run_in_threadpool(answers.write)
        return JSONResponse({"rows": told})

    @app.post("/explain")
    async def explain(request: Request) -> Response:
        """A heat map of one case, by perturbation: what of its image speaks for a class."""
        batcher: Batcher = request.app.state.batcher
        row, asked = await _case(request, batcher.served, settings)
        async with explaining:
            return JSONResponse(await explained(batcher, row, asked, settings.max_pixels))

    @app.get("/model")
    async def model(request: Request) -> dict[str, Any]:
        """What answers now: name, version, SHA-256 of its manifest, fields, answers, limits."""
        now: Served = request.app.state.batcher.served
        limits = {name: getattr(settings, name) for name in ("max_rows", "max_body", "max_pixels")}
        return now.about | {"fields": now.inputs, "answers": now.outputs, **limits, "notice": NOTICE}

    @app.get("/health")
    async def health(request: Request) -> Response:
        """200 while rows are answered."""
        alive = request.app.state.batcher.alive
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """What Prometheus reads."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return Guard(app, settings, metrics, PATHS)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _case(request: Request, now: Served, settings: Settings) -> tuple[dict[str, Any], str | None]:
    """The case of `{"row": {...}, "class": "mel"}` and the class, which may be left out."""
    declared(request.headers, settings.max_body)
    if _kind(request) == "multipart/form-data":
        raise BadRequestError(415, 'content-type: application/json wanted: {"row": {...}, "class": ...}')
    sent = await run_in_threadpool(decoded, await request.body())
    if not isinstance(sent, dict) or not {"row"} <= set(sent) <= {"row", "class"}:
        raise BadRequestError(422, 'body: {"row": {...}, "class": ...} wanted, and nothing else; class may be left out')
    asked = sent.get("class")
    if problem := wrong(sent["row"], now.inputs):
        raise BadRequestError(422, f"row: {problem}")
    if not isinstance(asked, str | None):
        raise BadRequestError(422, "class: a text wanted")
    [row] = Rows((sent["row"],), (None,)).sound
    return row, asked


async def _rows(request: Request, now: Served, settings: Settings) -> Rows:
    """A request's rows for the model `now`. Raises HTTPException and BadRequestError."""
    declared(request.headers, settings.max_body)
    kind = _kind(request)
    if kind == "application/json":
        body = await request.body()
        return await run_in_threadpool(from_json, body, now.inputs, settings.max_rows)
    if kind != "multipart/form-data":
        raise BadRequestError(415, "content-type: application/json or multipart/form-data wanted")
    most = settings.max_rows
    parser = InMemory(
        request.headers, request.stream(), max_files=most, max_fields=most * (len(now.inputs) + 1), max_part_size=1024
    )
    try:
        parts = (await parser.parse()).multi_items()
        images = [(name, await value.read()) for name, value in parts if not isinstance(value, str)]
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequestError(400, f"body: no form: {error}") from None
    finally:
        for file in parser._files_to_close_on_error:  # of a form without end, too
            file.close()
    texts = [(name, value) for name, value in parts if isinstance(value, str)]
    for name, _ in images:
        if name != "image":
            raise BadRequestError(422, f"{name[:60]!a}: a file; only image is one")
    return from_form([data for _, data in images], texts, now.inputs, most)


async def _follow(batcher: Batcher, settings: Settings, metrics: Metrics) -> None:
    """Look where the alias points, and load what it points at now; what answers goes on until that has."""
    while served.follows(settings.model):
        await asyncio.sleep(settings.poll_seconds)
        try:
            version = await asyncio.to_thread(served.find, settings.model)
            if version == batcher.served.version:
                continue
            new = await asyncio.to_thread(served.load, version, max_pixels=settings.max_pixels)
        except Exception as error:  # the store may be gone for a while, or the version be broken
            metrics.reloads.labels("failed").inc()
            log.error("%s stays: %s", batcher.served.version.uri, error)
            continue
        batcher.served = new
        metrics.serves(new)
        metrics.reloads.labels("done").inc()
        log.info("%s answers from now on", version.uri)


def _problem(request: Request, status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message, "request": request.state.id}, status, headers)
