"""Progress of a search: a live display in a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO, final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.front import Front
from engine.tables import error_text, size_words

__all__ = ["Progress", "Status", "duration_text"]

LINE_SECONDS = 10.0
LINE_SHARE = 0.05
BAR_WIDTH = 34


@final
@dataclass(frozen=True)
class Status:
    """What a study knows about itself at one moment.

    Args:
        phase: `search` or `finish`.
        budget: Trials to pay for; None where only time limits the study.
        paid: Trials that cost budget so far (complete and failed).
        front: The front of the search so far.
        hypervolume: Of that front, in (error, log10 bytes); higher is better.
        seconds: Elapsed since the start.
        seconds_left: Estimated, or None.
        finished: Winners finished so far, of `to_finish`.
        last_error: Text of the latest failure.
        metric: Decides whether errors are shown in percent.
    """

    phase: str
    budget: int | None
    paid: int
    complete: int
    failed: int
    cached: int
    oversized: int
    raced: int
    front: Front
    hypervolume: float
    seconds: float
    seconds_left: float | None = None
    finished: int = 0
    to_finish: int = 0
    last_error: str = ""
    metric: str = "accuracy"


def duration_text(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours where there are any.

    Example:
        >>> duration_text(75), duration_text(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@final
class Progress:
    """Shows the status of a study until the `with` block ends; it goes to standard error, results to standard output.

    In a terminal a few lines are drawn over and over. Elsewhere (a pipe, TERM=dumb, CI) plain lines are written: one
    when another 5 % of the budget are done or 10 s have passed since the last one, and only if something changed.

    Args:
        stream: Where to write; standard error if None.
        quiet: Write nothing at all.
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live: Live | None = None
        self._lines = _Lines()
        self._display = _Display()

    def __enter__(self) -> Self:
        if not self._quiet and is_terminal(self._stream, os.environ):
            console = Console(file=self._stream, force_terminal=True, highlight=False)
            self._live = Live(self._display, console=console, refresh_per_second=4, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.freeze()
        if self._live is not None:
            live, self._live = self._live, None
            live.__exit__(kind, error, trace)
        elif not self._quiet and (line := self._lines.last()):
            self._write(line)

    def update(self, status: Status) -> None:
        """Show a new status."""
        if self._quiet:
            return
        if self._live is not None:
            self._display.show(status)
        elif line := self._lines.next(status):
            self._write(line)

    def note(self, text: str) -> None:
        """Print a line above the display."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(Text(text), soft_wrap=True)
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write((text + "\n").encode(encoding, "replace").decode(encoding))
        self._stream.flush()


def is_terminal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Say whether lines can be drawn over: a terminal, not a dumb one, and not a build server."""
    in_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and environment.get("TERM", "") != "dumb" and not in_ci


@final
class _Lines:
    """Decides which statuses become a plain line."""

    def __init__(self) -> None:
        self._shown: Status | None = None
        self._latest: Status | None = None

    def next(self, status: Status) -> str:
        before, self._latest = self._shown, status
        if before is not None and not self._is_due(before, status):
            return ""
        self._shown = status
        return plain_line(status)

    def last(self) -> str:
        """Return the line of the final status if it has not been written."""
        latest, shown = self._latest, self._shown
        return plain_line(latest) if latest is not None and latest is not shown else ""

    def _is_due(self, before: Status, now: Status) -> bool:
        if _done(before) == _done(now):
            return False
        if before.phase != now.phase or now.seconds - before.seconds >= LINE_SECONDS:
            return True
        if now.phase == "finish":
            return now.finished > before.finished
        return now.budget is not None and now.paid - before.paid >= max(1.0, LINE_SHARE * now.budget)


def _done(status: Status) -> tuple[object, ...]:
    return status.phase, status.paid, status.cached, status.oversized, status.finished


def plain_line(status: Status) -> str:
    """Return a status as one line of plain characters."""
    if status.phase == "finish":
        done = f"finish {status.finished}/{status.to_finish}"
    else:
        done = f"search {_of_budget(status)}"
    return " | ".join([done, *_states(status), *_front_parts(status), _times(status, status.seconds)])


@final
class _Display:
    """The live display; drawn by the thread of `Live`, so the clock moves while trials run."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._since = 0.0
        self._frozen = False

    def show(self, status: Status) -> None:
        self._status, self._since = status, time.monotonic()

    def freeze(self) -> None:
        self._frozen = True

    def __rich__(self) -> RenderableType:
        status = self._status
        if status is None:
            return Text("starting ...", style="dim")
        waited = 0.0 if self._frozen else time.monotonic() - self._since
        return draw(status, waited)


def draw(status: Status, waited: float = 0.0) -> RenderableType:
    """Return the live display of a status, `waited` seconds after it was told."""
    bars = Table.grid(padding=(0, 1))
    is_open = status.budget is None
    total, done = (status.budget or 1), status.paid
    if status.phase == "finish" and done < total:  # ended by time: the search itself is over
        total = max(1, done)
    bar = ProgressBar(total=None if is_open and status.phase == "search" else total, completed=done, width=BAR_WIDTH)
    bars.add_row("search", bar, Text(f"{_of_budget(status)} trials", style="bold"))
    if status.phase == "finish":
        second = ProgressBar(total=max(1, status.to_finish), completed=status.finished, width=BAR_WIDTH)
        bars.add_row("finish", second, Text(f"{status.finished}/{status.to_finish} members", style="bold"))
    grid = Table.grid()
    grid.add_row(bars)
    for parts in (_states(status), _front_parts(status)):
        grid.add_row(Text(" · ".join(parts), no_wrap=True, overflow="ellipsis"))
    left = None if status.seconds_left is None else max(0.0, status.seconds_left - waited)
    grid.add_row(Text(_times(status, status.seconds + waited, left), style="dim"))
    if status.last_error:
        first = status.last_error.strip().splitlines()[-1]
        grid.add_row(Text(f"last failure: {first}", style="red", no_wrap=True, overflow="ellipsis"))
    return grid


def _of_budget(status: Status) -> str:
    return f"{status.paid}" if status.budget is None else f"{status.paid}/{status.budget}"


def _states(status: Status) -> list[str]:
    counts = {"raced": status.raced, "failed": status.failed, "cached": status.cached, "oversized": status.oversized}
    return [f"{count} {name}" for name, count in counts.items() if count or name in ("failed", "cached")]


def _front_parts(status: Status) -> list[str]:
    if not len(status.front):
        return ["front empty"]
    best, knee = status.front.points[0], status.front.knee()
    size = status.front.cost if status.front.cost.endswith("bytes") else "bytes"
    return [
        f"front {len(status.front)}",
        f"hypervolume {status.hypervolume:.3f}",
        f"best {error_text(best.values['error'], status.metric)}",
        f"knee {error_text(knee.values['error'], status.metric)} in {size_words(knee.values[size], size)}",
    ]


def _times(status: Status, seconds: float, left: float | None = None) -> str:
    left = status.seconds_left if left is None else left
    text = f"{duration_text(seconds)} elapsed"
    return text if left is None else f"{text}, about {duration_text(left)} left"
