"""Ending on request: SIGTERM from a scheduler becomes an exception, as Ctrl-C is one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from engine.errors import EXIT_INTERRUPTED

__all__ = ["EXIT_TERMINATED", "Terminated", "exit_code", "stoppable"]

EXIT_TERMINATED = 128 + signal.SIGTERM


@final
class Terminated(KeyboardInterrupt):
    """Somebody asked this process to end, and will kill it soon."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was interrupted: 128 and the number of the signal, as shells say it."""
    return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Terminated in the main thread at the first SIGTERM; those that follow change nothing.

    Schedulers send SIGTERM, often more than once, and kill after some seconds. It is raised by way of SIGINT, so that
    whoever holds Ctrl-C back for a moment holds this back too. Outside the main thread, which alone receives signals,
    nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    interrupt = signal.getsignal(signal.SIGINT)

    def terminate(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, interrupted)
        signal.raise_signal(signal.SIGINT)

    def interrupted(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, interrupt)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
