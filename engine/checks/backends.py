"""The laws of backends."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from engine.backends import Backend
from engine.backends.serial import Serial
from engine.errors import BackendError

__all__ = ["backend_checks"]

MakeBackend = Callable[[], Backend]
KILL = "kill"


def backend_checks(*, is_process: bool = True) -> Iterator[tuple[str, Callable[[MakeBackend], None]]]:
    """Yield the name and the function of each check; a function takes what makes a fresh backend.

    Args:
        is_process: Whether slots are processes of their own, that can be killed.
    """
    yield "ends_each_task_once", check_ends_each_task_once
    yield "agrees_with_serial", check_agrees_with_serial
    yield "returns_results_whole", check_returns_results_whole
    yield "refuses_to_wait_for_nothing", check_refuses_to_wait_for_nothing
    yield "closes_twice", check_closes_twice
    yield "closes_with_tasks_under_way", check_closes_with_tasks_under_way
    if is_process:
        yield "survives_a_killed_worker", check_survives_a_killed_worker


def check_ends_each_task_once(make: MakeBackend) -> None:
    """Every task that is submitted ends once, also when more are submitted in between."""
    backend = make()
    try:
        backend.start(_digest)
        for task in range(2 * backend.slots + 3):
            backend.submit(task)
        ended = [backend.wait().task]
        backend.submit("late")
        ended += [backend.wait().task for _ in range(2 * backend.slots + 3)]
    finally:
        backend.close()
    wanted = Counter([*range(2 * backend.slots + 3), "late"])
    assert Counter(ended) == wanted, f"Submitted {dict(wanted)}, ended {ended}."


def check_agrees_with_serial(make: MakeBackend) -> None:
    """Each task has the result that the serial backend gives."""
    tasks = [{"number": number, "genes": ("int8", 0.5, None)} for number in range(6)]
    here, there = _results(Serial(), tasks), _results(make(), tasks)
    assert here == there, f"Results differ from serial's: {there} instead of {here}."


def check_returns_results_whole(make: MakeBackend) -> None:
    """Results far longer than a pipe's buffer arrive whole."""
    for length, result in _results(make(), [3_000_000, 1, 5_000_000], work=_long).items():
        assert result == _long(int(length)), f"A result of {length} bytes arrived with {len(result)}."


def check_refuses_to_wait_for_nothing(make: MakeBackend) -> None:
    """Waiting with nothing under way raises instead of blocking for ever."""
    backend = make()
    try:
        backend.start(_digest)
        _must_raise(backend.wait)
        backend.submit(1)
        backend.wait()
        _must_raise(backend.wait)
    finally:
        backend.close()


def check_closes_twice(make: MakeBackend) -> None:
    """Closing twice, or without a start, is no error."""
    backend = make()
    backend.close()
    backend.start(_digest)
    backend.close()
    backend.close()


def check_closes_with_tasks_under_way(make: MakeBackend) -> None:
    """Closing ends what runs and forgets what waits; the backend can be started again."""
    backend = make()
    backend.start(_digest)
    for task in range(2 * backend.slots + 1):
        backend.submit(task)
    backend.close()
    assert _results(backend, ["again"]) == {"'again'": _digest("again")}, "A closed backend does not start again."


def check_survives_a_killed_worker(make: MakeBackend) -> None:
    """A task whose worker is killed ends as lost, saying how; all others end well."""
    backend = make()
    tasks: list[Any] = [0, KILL, 1, 2, KILL, 3, 4]
    try:
        backend.start(_digest)
        for task in tasks:
            backend.submit(task)
        outcomes = [backend.wait() for _ in tasks]
    finally:
        backend.close()
    for outcome in outcomes:
        if outcome.task == KILL:
            assert "signal 9" in outcome.lost, f"A killed worker is reported as {outcome}."
        else:
            assert outcome.result == _digest(outcome.task), f"A task beside a killed worker ended as {outcome}."
    assert Counter(outcome.task for outcome in outcomes) == Counter(tasks)


def _results(backend: Backend, tasks: list[Any], *, work: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    try:
        backend.start(work or _digest)
        for task in tasks:
            backend.submit(task)
        outcomes = [backend.wait() for _ in tasks]
    finally:
        backend.close()
    assert not any(outcome.lost for outcome in outcomes), f"Workers were lost: {outcomes}."
    return {repr(outcome.task): outcome.result for outcome in sorted(outcomes, key=lambda outcome: repr(outcome.task))}


def _digest(task: Any) -> str:
    if task == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    return hashlib.sha256(repr(task).encode()).hexdigest()


def _long(length: int) -> bytes:
    return bytes(range(256)) * (length // 256) + b"."


def _must_raise(wait: Callable[[], Any]) -> None:
    try:
        outcome = wait()
    except BackendError:
        return
    raise AssertionError(f"Waiting for nothing must raise BackendError, and returned {outcome}.")
