"""The last table of several searches: what each of them found, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from engine.front import Front
from engine.launch import Run
from engine.tables import error_text, print_table
from engine.trial import Point

__all__ = ["SIZES", "print_sweep", "sweep_table"]

SIZES = (5_000, 35_000, 250_000)  # bytes under which the best file of each run is shown


def sweep_table(runs: Sequence[tuple[str, Run]]) -> Table:
    """Return a table with a row for each run: the best under some sizes, and the knee.

    Args:
        runs: What was asked for, and what came of it.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("run")
    for name in ("metric", "members", *(f"best <= {size // 1000} kB" for size in SIZES), "knee"):
        table.add_column(name, justify="right", no_wrap=True)
    for title, run in runs:
        if not run.members:
            table.add_row(Text(title), "-", "0", *["-"] * (len(SIZES) + 1))
            continue
        metric = str(run.members[0].artifact.card["metric"])
        shown = [_best(run.front, size, metric) for size in SIZES]
        knee = run.front.knee()
        table.add_row(
            Text(title),
            metric,
            str(len(run.members)),
            *shown,
            f"{_error(knee.values['error'], metric)} in {_size(knee)}",
        )
    return table


def print_sweep(runs: Sequence[tuple[str, Run]]) -> None:
    """Print the table of several searches: errors on validation rows."""
    print_table(sweep_table(runs))


def _best(front: Front, size: int, metric: str) -> str:
    inside = [point for point in front if point.values["bytes"] <= size]
    if not inside:
        return "-"
    best = min(inside, key=lambda point: point.values["error"])
    return f"{_error(best.values['error'], metric)} in {_size(best)}"


def _error(value: float, metric: str) -> str:
    return error_text(value, metric).removesuffix(f" {metric}")


def _size(point: Point) -> str:
    return f"{point.values['bytes']:,.0f} B"
