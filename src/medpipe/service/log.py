"""Answers and embeddings, not images, in Parquet files: what `medpipe drift` reads."""

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe import atomic
from medpipe.models.ood import EMBEDDING

ROWS, SECONDS, MOST = 1000, 60.0, 20_000
LEFT_OUT = ("mask", "error")

log = logging.getLogger(__name__)


class Log:
    """Rows are kept until there are ROWS of them or SECONDS are over, then make a file of the folder.

    A service that is killed loses what it kept; one that stops writes it. A folder that cannot be written to is told in
    the service's log, and the rows are tried again, MOST of them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._since = time.monotonic()
        self._lock = threading.Lock()

    def add(
        self,
        request: str,
        rows: Sequence[dict[str, Any]],
        embeddings: Sequence[npt.NDArray[np.float32] | None],
        cases: Sequence[str | None],
    ) -> bool:
        """Keep the answered rows of a request, each with its embedding (d,) and a hash of the case that it is said to
        be of; returns whether it is time to `write`.
        """
        now = pd.Timestamp.now("UTC")
        with self._lock:
            self._rows += [
                {
                    "time": now,
                    "request": request,
                    "case": None if case is None else hashlib.sha256(case.encode()).hexdigest(),
                    **{k: v for k, v in row.items() if k not in LEFT_OUT},
                    EMBEDDING: embedding,
                }
                for row, embedding, case in zip(rows, embeddings, cases, strict=True)
                if row["error"] is None
            ]
            del self._rows[:-MOST]
            return len(self._rows) >= ROWS or time.monotonic() - self._since > SECONDS

    def write(self) -> None:
        """Put what is kept into a new file, whole or not at all."""
        with self._lock:
            rows, self._rows, self._since = self._rows, [], time.monotonic()
        if not rows:
            return
        try:
            name = f"{rows[0]['time']:%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:8]}.parquet"
            with atomic.file(self.folder / name) as file:
                pd.DataFrame(rows).to_parquet(file, index=False)
        except OSError as error:
            log.error("answers cannot be written to %s: %s", self.folder, error)
            with self._lock:
                self._rows = rows + self._rows
