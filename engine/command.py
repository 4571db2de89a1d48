"""What every command line shares: usage, settings, clear errors, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from engine.errors import EXIT_ERROR, EngineError, report_error
from engine.settings import build, from_arguments
from engine.stopping import exit_code

__all__ = ["main_guard", "settings_command"]

T = TypeVar("T")


def main_guard(work: Callable[[], int]) -> int:
    """Run a command; turn errors that we raise on purpose into a message and an exit code."""
    try:
        return work()
    except EngineError as error:
        return report_error(error)
    except KeyboardInterrupt as stop:
        sys.stderr.write("Interrupted before there was anything to write.\n")
        return exit_code(stop)


def settings_command(
    kind: type[T],
    work: Callable[[T], str],
    *,
    usage: str,
    arguments: Sequence[str] | None,
) -> int:
    """Run a command that takes `key=value` arguments and prints a text.

    Args:
        kind: Dataclass of the settings.
        work: From settings to the text.
        usage: Printed for `--help`, and where no arguments were given.
        arguments: Of the command line; by default the process's own.

    Returns:
        The exit code: 0, or 2 for anything wrong with what was given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    is_asked = any(argument in ("-h", "--help") for argument in given)
    if is_asked or not given:
        sys.stdout.write(usage)
        return 0 if is_asked else EXIT_ERROR

    def told() -> int:
        text = work(build(kind, from_arguments(given)))
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return 0

    return main_guard(told)
