"""Starting worker processes: what they find when they are born, and that they end when the driver does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import Any

from engine.errors import BackendError

__all__ = ["WORKER_ENVIRONMENT", "end_with_driver", "interrupts_held", "message_of", "worker_environment"]

# Every worker computes on one thread: as many workers as cores, and the same sums whatever the number of cores.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
# The C library of Linux gives freed memory back and asks for it again at each step of a training.
HELD_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
WORKER_ENVIRONMENT = ONE_THREAD | HELD_MEMORY


def message_of(value: Any) -> memoryview:
    """Return a value as it goes through a pipe.

    Raises:
        BackendError: If it cannot be sent to another process.
    """
    try:
        return ForkingPickler.dumps(value)
    except Exception as error:  # pickling runs the methods of foreign objects
        raise BackendError(f"{value!r:.80} cannot be sent to a worker process: {error}.") from error


def end_with_driver() -> None:
    """In a worker: leave Ctrl-C to the driver, and end when the driver does, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


@contextmanager
def worker_environment() -> Iterator[None]:
    """Set what a new process must find before it loads NumPy, and put back what was there."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process is born: it inherits that, and the driver gets the signal afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
