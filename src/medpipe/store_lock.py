"""One process at a time, of all on all machines that share an MLflow store, which has no locks of its own.

A lock is a queue of tickets (Lamport 1974, doi 10.1145/361082.361093), which are versions of a prompt of its name: the
store's database gives each version another number, also where several are made at once, and gives none twice. The
lowest one that is not deleted holds the lock. Prompts appear in no list of models.

The process behind a ticket says every LEASE / 6 seconds that it is alive. Those that wait delete a ticket whose process
was silent for LEASE seconds by their own clock; clocks of different machines are not compared. A process that was only
suspended learns of it when it renews its ticket, which it does right before it writes.
"""

import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from medpipe.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LEASE, POLL = 60.0, 0.5  # seconds
HOLDER, ALIVE = "medpipe.holder", "medpipe.alive"  # tags of a ticket; the latter changes while its process lives
MOST = 10_000  # tickets asked for at once, which is all of them


@contextmanager
def hold(client: "MlflowClient", name: str, purpose: str) -> Iterator[Callable[[], None]]:
    """Wait for the lock `name` of the client's store, and hold it; `purpose` is shown to those who wait.

    Yields a function to be called right before what only the holder may do: it raises InputError where the lock was
    lost, since this process was suspended for too long.
    """
    from mlflow.exceptions import MlflowException

    create_once(lambda: client.create_prompt(name, f"A lock of medpipe's. {purpose} was the first to hold it."))
    holder = f"{purpose} (process {os.getpid()} on {platform.node()})"
    number = int(client.create_prompt_version(name, "A ticket.", tags={HOLDER: holder}).version)
    renew, ended = partial(_renew, client, name, number, purpose), threading.Event()
    beats = threading.Thread(target=_beat, args=(client, name, number, ended), daemon=True)
    beats.start()
    try:
        _wait(client, name, number)
        renew()
        yield renew
    finally:
        ended.set()
        beats.join()
        with suppress(MlflowException):  # the ticket was lost; or the store is away, and the lease will end by itself
            client.delete_prompt_version(name, str(number))


def create_once(create: Callable[[], object]) -> None:
    """Make what has a name in the store, unless it is there; several processes may do so at once."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _beat(client: "MlflowClient", name: str, number: int, ended: threading.Event) -> None:
    from mlflow.exceptions import MlflowException

    while not ended.wait(LEASE / 6):
        with suppress(MlflowException):  # the store is away for a moment; or the ticket is lost, as `_renew` will say
            client.set_prompt_version_tag(name, number, ALIVE, uuid.uuid4().hex)


def _renew(client: "MlflowClient", name: str, number: int, purpose: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.set_prompt_version_tag(name, number, ALIVE, uuid.uuid4().hex)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(
            f"{purpose}: this process was silent for more than {LEASE:g} s, and others went on; start it again"
        ) from None


def _wait(client: "MlflowClient", name: str, number: int) -> None:
    """Return once no ticket below `number` is left."""
    from mlflow.exceptions import MlflowException

    ours = f"name = '{name}' AND tags.`mlflow.prompt.is_prompt` = 'true'"  # searches leave prompts out else
    heard: dict[int, tuple[str | None, float]] = {}  # ticket: its last sign of life, and when that was new
    told = None
    while before := {
        place: ticket.tags
        for ticket in client.search_model_versions(ours, MOST)
        if (place := int(ticket.version)) < number
    }:
        first = min(before)
        if first != told and HOLDER in before[first]:  # the store gives no tags of one that is deleted meanwhile
            print(f"waiting for {before[first][HOLDER]}", file=sys.stderr, flush=True)
            told = first
        for place, tags in before.items():
            sign, now = tags.get(ALIVE), time.monotonic()
            if place not in heard or heard[place][0] != sign:
                heard[place] = sign, now
            elif now - heard[place][1] > LEASE:
                print(f"{tags.get(HOLDER)} was silent for {LEASE:g} s: taken for dead", file=sys.stderr, flush=True)
                with suppress(MlflowException):  # another one that waits was first
                    client.delete_prompt_version(name, str(place))
        time.sleep(POLL)
