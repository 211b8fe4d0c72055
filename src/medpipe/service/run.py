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
    with _listening(settings.host, settings.port) as listening:
        address = listening.getsockname()
        logging.getLogger("medpipe.service").info(
            "%s answers on http://%s:%d", settings.model, settings.host, address[1]
        )
        running.run([listening])
    return 0 if running.started else 1


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}:{port}: cannot be listened to ({error}); choose another --host or --port") from None
