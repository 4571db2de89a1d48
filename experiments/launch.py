"""How a benchmark is called: usage, settings, clear errors, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from engine.command import main_guard
from engine.settings import build, from_arguments

__all__ = ["launch", "launch_around_search"]

T = TypeVar("T")


def launch(kind: type[T], run: Callable[[T], int], usage: str | None, arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark.

    Args:
        kind: Dataclass of its settings.
        run: From settings to the exit code.
        usage: Printed for `--help`: the docstring of its module.
        arguments: `key=value`; by default those of this process.
    """
    return _launch(lambda given: run(build(kind, given)), usage, arguments)


def launch_around_search(
    kind: type[T],
    run: Callable[[T, Mapping[str, Any]], int],
    usage: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a benchmark that hands every key that is not its own to a search; see `launch`."""

    def work(given: dict[str, Any]) -> int:
        own = {name: given.pop(name) for name in kind.__dataclass_fields__ if name in given}  # type: ignore[attr-defined]
        return run(build(kind, own), given)

    return _launch(work, usage, arguments)


def _launch(work: Callable[[dict[str, Any]], int], usage: str | None, arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help") for argument in given):
        sys.stdout.write(f"{(usage or '').strip()}\n")
        return 0
    return main_guard(lambda: work(from_arguments(given)))
