"""Rows of requests that come at the same time go through the model together; the model may be changed meanwhile.

A request's rows stay together, and are answered by one version. While the model computes, requests gather; an idle
model waits `max_wait` for company. What is queued when a new version arrives is answered by that one.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from medpipe.service.metrics import Metrics
from medpipe.service.rows import BadRequestError
from medpipe.service.served import Served
from medpipe.service.settings import Settings

log = logging.getLogger(__name__)


@dataclass
class Job:
    """The sound rows of one request, and who waits for their answers."""

    cases: Sequence[dict[str, Any]]
    answer: asyncio.Future[tuple[Served, pd.DataFrame]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """One worker, which runs `served` in a thread of its own. `served` may be replaced at any time."""

    def __init__(self, served: Served, settings: Settings, metrics: Metrics) -> None:
        self.served, self.settings, self.metrics = served, settings, metrics
        self._queue: asyncio.Queue[Job | None] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker = asyncio.create_task(self._work())

    @property
    def alive(self) -> bool:
        return not self._worker.done()

    async def answer(self, cases: Sequence[dict[str, Any]]) -> tuple[Served, pd.DataFrame]:
        """The model's answers to a request's rows, and the version that gave them."""
        if not cases:
            return self.served, pd.DataFrame()
        job = Job(cases)
        self._queue.put_nowait(job)
        return await job.answer

    async def close(self) -> None:
        """Answer what is queued, then stop."""
        self._queue.put_nowait(None)
        await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        while (job := await self._queue.get()) is not None:
            jobs, last = await self._gather(job)
            if jobs := [job for job in jobs if not job.answer.cancelled()]:
                await self._run(jobs)
            if last:
                return

    async def _gather(self, first: Job) -> tuple[list[Job], bool]:
        """The jobs of the next batch, and whether none comes after it."""
        jobs, rows = [first], len(first.cases)
        try:
            async with asyncio.timeout(self.settings.max_wait):
                while rows < self.settings.max_batch:
                    job = await self._queue.get()
                    if job is None:
                        return jobs, True
                    jobs.append(job)
                    rows += len(job.cases)
        except TimeoutError:
            pass
        return jobs, False

    async def _run(self, jobs: list[Job]) -> None:
        served, fitting = self.served, []
        for job in jobs:
            if set(job.cases[0]) == set(served.inputs):
                fitting.append(job)
            else:
                job.answer.set_exception(BadRequestError(503, "the model was replaced, and reads other fields now"))
        jobs, cases = fitting, [case for job in fitting for case in job.cases]
        if not jobs:
            return
        self.metrics.batch.observe(len(cases))
        try:
            table = pd.DataFrame(cases, columns=list(served.inputs), dtype=object)
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, served.predict, table)
        except Exception as error:
            if len(jobs) > 1:  # whichever it is, the others are answered
                for job in jobs:
                    await self._run([job])
            elif not jobs[0].answer.cancelled():
                jobs[0].answer.set_exception(error)
            return
        start = 0
        for job in jobs:
            if not job.answer.cancelled():
                job.answer.set_result((served, answers.iloc[start : start + len(job.cases)]))
            start += len(job.cases)
