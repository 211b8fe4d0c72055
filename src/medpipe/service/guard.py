"""What stands between the network and the app: ids, limits of size and time, one line of log a request.

Bodies are counted as they come, so that none is held that is too large.
"""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from medpipe.service.metrics import Metrics
from medpipe.service.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("medpipe.service")


class Guard:
    """An ASGI app around another. `paths` are those that metrics tell apart."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app, self.settings, self.metrics, self.paths = app, settings, metrics, paths
        self._held = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, start = Headers(scope=scope), time.perf_counter()
        asked = headers.get("x-request-id", "")
        request = scope["state"]["id"] = asked if ID.fullmatch(asked) else uuid.uuid4().hex
        deadline = asyncio.get_running_loop().time() + self.settings.body_seconds
        size, status = 0, 500

        async def counted() -> Message:
            nonlocal size
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"body: not there after {self.settings.body_seconds:g} s") from None
            more = len(message.get("body", b""))
            size, self._held = size + more, self._held + more
            self.metrics.held.set(self._held)
            self._check(size)
            return message

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request
            async with asyncio.timeout(self.settings.body_seconds):  # a client that takes nothing
                await send(message)

        self.metrics.running.inc()
        try:
            await self.app(scope, counted, answered)
        except TimeoutError:
            status = 499
        finally:
            self._held -= size
            self.metrics.held.set(self._held)
            self.metrics.running.dec()
            path, seconds = scope["path"] if scope["path"] in self.paths else "other", time.perf_counter() - start
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            log.info("%s %s %s %d %.0f ms", request, scope["method"], ascii(scope["path"])[:80], status, 1000 * seconds)

    def _check(self, size: int) -> None:
        if size > self.settings.max_body:
            raise HTTPException(413, f"body: more than {self.settings.max_body} bytes")
        if self._held > self.settings.max_held:
            raise HTTPException(503, "too many requests at once; try again", {"Retry-After": "1"})


def declared(headers: Headers, most: int) -> None:
    """Refuse a body that is said to be too large, before any of it is read. Raises HTTPException."""
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > most):
        raise HTTPException(413, f"body: more than {most} bytes")


def protocol(seconds: float) -> type[H11Protocol]:
    """Uvicorn's protocol, which closes a connection on which no whole head of a request comes for `seconds`.

    A body that comes after its answer, as after a 413, is let through and dropped for as long.
    """

    class Protocol(H11Protocol):
        timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.timer = self.loop.call_later(seconds, self._late)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            half = self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and self._rest())
            if not half or self._answering():
                self._stop()
            elif self.timer is None:
                self.timer = self.loop.call_later(seconds, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _stop(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _rest(self) -> bool:
            """Whether part of a head has come."""
            return bool(self.conn.trailing_data[0])

        def _late(self) -> None:
            self.timer = None
            if self._answering():
                return
            if self.cycle is None and not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(RuntimeError):
                self.transport.close()

    return Protocol
