"""Running tasks of the finisher in their order; those whose worker is lost run again, within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from engine.backends import Backend
from engine.study import LOSSES_ALLOWED
from engine.work import Build, Done, Finish

__all__ = ["collect"]

T = TypeVar("T", Build, Finish)


def collect(
    backend: Backend,
    tasks: Sequence[T],
    keep: Callable[[T, Done], None],
    fits: Callable[[T, bool], bool] | None = None,
) -> None:
    """Run tasks until all have ended.

    Args:
        backend: Started already.
        tasks: In the order in which they begin.
        keep: Called with each task and what came of it.
        fits: Where the time is limited: asked before a task begins, and whether it would be alone. One that does not
            fit waits for those under way; where there are none, it is left out, and so are all after it.
    """
    losses: dict[int, int] = {}
    waiting, under_way = deque(tasks), 0
    at_once = backend.slots if fits is not None else len(tasks)
    while True:
        while waiting and under_way < at_once and (fits is None or fits(waiting[0], not under_way)):
            backend.submit(waiting.popleft())
            under_way += 1
        if not under_way:
            return
        outcome = backend.wait()
        task, done = outcome.task, outcome.result
        if outcome.is_limit:
            done = Done(error=f"A limit ended it: {outcome.lost}.")
        elif outcome.lost:
            losses[task.number] = losses.get(task.number, 0) + 1
            if losses[task.number] <= LOSSES_ALLOWED:
                backend.submit(task)
                continue
            done = Done(error=f"Its worker was lost {losses[task.number]} times: {outcome.lost}.")
        under_way -= 1
        keep(task, done)
