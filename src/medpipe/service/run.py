"""`medpipe serve`."""

import logging
import socket

import uvicorn

from medpipe.errors import InputError
from medpipe.service import app, served
from medpipe.service.guard import protocol
from medpipe.service.settings import Settings


def server(settings: Settings) -> uvicorn.Server:
    """The service with its model loaded, ready to `run`. Raises InputError where there is no such model."""
    first = served.load(served.find(settings.model), max_pixels=settings.max_pixels)
    config = uvicorn.Config(
        app.create(settings, first),
        settings.host,
        settings.port,
        http=protocol(settings.header_seconds),
        ws="none",
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=int(settings.stop_seconds),
        access_log=False,  # the guard tells more
        server_header=False,
        log_level="warning",
    )
    return uvicorn.Server(config)


def serve(settings: Settings) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    running = server(settings)
    host, family = settings.host, socket.AF_INET
    if ":" in host:
        host, family = f"[{host}]", socket.AF_INET6
    try:  # uvicorn says so too, but exits as drift does
        socket.create_server((settings.host, settings.port), family=family).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{settings.port}: cannot listen ({error}); choose another --host or --port") from None
    logging.getLogger("medpipe.service").info("%s answers on http://%s:%d", settings.model, host, settings.port)
    running.run()
    return 0 if running.started else 1
