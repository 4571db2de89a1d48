"""Few full collections of garbage while a long loop runs, each over what was made there alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["few_full_collections"]

EVERY = 100  # collections of the middle generation, a tenth as often as by default


@contextmanager
def few_full_collections() -> Iterator[None]:
    """Inside the block, full collections are rare, and look only at objects that were made there.

    Imported modules alone are a million objects: to walk over them takes a quarter of a second, every dozen proposals,
    and the memos of a sampler are a hundred thousand more. Cycles that become garbage meanwhile wait for the end.

    Example:
        >>> with few_full_collections():
        ...     gc.get_freeze_count() > 0, gc.get_threshold()[2]
        (True, 100)
        >>> gc.get_freeze_count()
        0
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*before[:2], max(before[2], EVERY))
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
