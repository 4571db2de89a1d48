"""Where tasks wait for slots: who has which, which have ended, and whether any slot can be had at all."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, final

from engine.errors import BackendError

__all__ = ["DESK", "Desk", "Ended", "Order", "Task"]

DESK = "desk"  # its name as an actor, in the namespace of the run
MAX_FAILED_STARTS = 3  # in a row, while no slot is up
PATIENCE_SECONDS = 600.0  # without a single slot: a cluster that grows starts its machines within that
LOOK_SECONDS = 1.0


@final
@dataclass(frozen=True)
class Task:
    """A task under way.

    Args:
        number: By which the driver knows it.
        message: Which the desk does not read.
        seconds: That it may take.
        waited_seconds: Between its coming to the desk and its going to a slot.
    """

    number: int
    message: bytes
    seconds: float | None = None
    waited_seconds: float = 0.0


@final
@dataclass(frozen=True)
class Ended:
    """How a task ended: with the message of its result, or lost and why, which may be a limit of its own."""

    number: int
    result: bytes | None = None
    lost: str = ""
    is_limit: bool = False


@final
@dataclass(frozen=True)
class Order:
    """What every slot must know; told by the desk.

    Args:
        work: The pickled function that runs tasks.
        place: Folder of the run on each node, for what must lie on its disk.
        parcel: References to the files of the work's folder, by name; None where slots read that folder itself.
        paths: Where the driver finds modules.
        memory_bytes: Of each worker process; None for as much as there is.
    """

    work: bytes
    place: str
    parcel: Mapping[str, Any] | None = None
    paths: tuple[str, ...] = ()
    memory_bytes: int | None = None


@final
class Desk:
    """Gives the oldest task to whichever slot asks, and takes in what comes of it.

    A slot asks, works, and hands in with its next question, so a task costs one message each way. Every slot that is
    started has a name of its own; one that is lost is never heard again, so no task ends twice. All methods run in one
    event loop; only `lose` is called by the thread that keeps the slots, through that loop.

    Args:
        wanted: What a slot reserves, in words, for messages.
        patience_seconds: How long to wait while no slot is up.
    """

    def __init__(self, wanted: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._wanted, self._patience = wanted, patience_seconds
        self._queue: deque[tuple[float, Task]] = deque()  # with the moment at which each came
        self._under_way: dict[str, Task] = {}
        self._asking: dict[str, asyncio.Future[Task]] = {}
        self._lost: set[str] = set()
        self._ended: list[Ended] = []
        self._news = asyncio.Event()
        self._failed_starts = 0
        self._alone_since = time.monotonic()
        self._failure = ""

    async def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append((time.monotonic(), task))
        self._hand_out()

    async def ask(self, slot: str, ended: Ended | None = None) -> Task:
        """Hand in the last task and wait for the next one.

        Args:
            slot: Who asks; the first question says that it is up.
            ended: What came of the task it had.

        Raises:
            BackendError: If the slot was given up for lost meanwhile.
        """
        if slot in self._lost:
            raise BackendError(f"Slot {slot} was given up for lost; its task runs elsewhere.")
        self._failed_starts = 0
        if ended is not None and self._under_way.pop(slot, None) is not None:
            self._tell(ended)
        asked: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        self._asking[slot] = asked
        self._hand_out()
        return await asked

    async def ended(self) -> list[Ended]:
        """Wait until tasks have ended, and return how.

        Raises:
            BackendError: If no slot can be had.
        """
        while not self._ended:
            alone = time.monotonic() - self._alone_since
            if alone > self._patience and not self._has_slots():
                self.fail(f"No slot was up for {alone:.0f} s. A slot needs {self._wanted} on one node.")
            if self._failure:
                raise BackendError(self._failure)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
            self._news.clear()
        told, self._ended = self._ended, []
        return told

    def lose(self, slot: str, reason: str) -> None:
        """Give up a slot: its task ends as lost."""
        was_up = slot in self._asking or slot in self._under_way
        self._lost.add(slot)
        asked = self._asking.pop(slot, None)
        if asked is not None:
            asked.cancel()
        task = self._under_way.pop(slot, None)
        if task is not None:
            self._tell(Ended(task.number, lost=reason))
        if was_up:
            self._alone_since = time.monotonic()
            return
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS and not self._has_slots():
            self.fail(f"{MAX_FAILED_STARTS} slots in a row ended while starting, the last one: {reason}")

    def fail(self, reason: str) -> None:
        """Say that nothing can go on; `ended` raises it."""
        self._failure = self._failure or reason
        self._news.set()

    def _has_slots(self) -> bool:
        return bool(self._asking or self._under_way)

    def _hand_out(self) -> None:
        while self._queue and self._asking:
            slot = next(iter(self._asking))  # the one that has waited longest
            asked = self._asking.pop(slot)
            if not asked.cancelled():
                came, task = self._queue.popleft()
                self._under_way[slot] = task
                asked.set_result(replace(task, waited_seconds=time.monotonic() - came))

    def _tell(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._news.set()
