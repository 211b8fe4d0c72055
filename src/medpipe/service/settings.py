"""What a service may be told: where it listens, what it takes, how it batches."""

from dataclasses import dataclass
from pathlib import Path

MEBI = 2**20


@dataclass(frozen=True)
class Settings:
    """A consumer has no params.yaml, so the values have defaults; `medpipe serve --help` lists them."""

    model: str  # models:/name@alias, which is followed; models:/name/version, runs:/..., a folder
    host: str = "127.0.0.1"
    port: int = 8000
    max_rows: int = 64  # a request
    max_body: int = 32 * MEBI  # bytes a request
    max_held: int = 256 * MEBI  # bytes of all requests that are being read or answered
    max_pixels: int = 25_000_000  # an image
    max_connections: int = 256
    max_batch: int = 8  # rows that go through the model at once
    max_wait: float = 0.002  # seconds that a row waits for others while the model is idle
    header_seconds: float = 10.0  # for a request's head
    body_seconds: float = 30.0  # for its body, and for taking the answer
    stop_seconds: float = 30.0  # for requests that run while the service stops
    poll_seconds: float = 10.0  # between two looks at where the alias points
    log: Path | None = None  # folder for answers and embeddings, as `medpipe drift` reads them
