"""Automl beside other systems: same folds, same seconds, same cores.

    python -m experiments.bench_automl data=tables sets=adult,phoneme seconds=60,300 peers.autogluon=/path/to/python

data            a folder of tables: sub-folders with a csv file and a meta.json that names `file`, `target`, `task`,
                `categorical_columns` and `timestamps`
sets            which of them, by default all
by_time         those whose rows go from past to future: their last part is the test part
systems         ours, autogluon, autogluon_limit, autogluon_deploy, flaml, tpot, autosklearn, lightgbm
peers.NAME      the interpreter of a peer; one that has none is a skipped row that says so
seconds         for each system, one or several
folds, repeats  how a table is divided; `count` of the folds are measured, the first ones
cores           for each system
out             folder of the record, cells.jsonl: what is in it is not measured again

The metric is 1 - AUC for two classes, log loss for more, RMSE for values. A share is the way from the error of the best
constant (0) to that of AutoGluon in the longest time it was given (1), on the same fold. The size of a system is what
it ships: an ONNX file with all preparation for ours and for LightGBM (as skl2onnx and onnxmltools write it), otherwise
what its own means write to disk. Among several files the one is scored that is best on validation rows within a size.
The area lies under 1 - error / constant error, over log10 of the bytes up to 10 GB. Latency is from DataFrame to label.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import mean, median
from typing import final

from rich.console import Console
from rich.table import Table as Printed

from engine.errors import SettingsError
from experiments.automl_cells import OURS, Cell, read_cells, run_cell
from experiments.automl_folds import folds_of, read_table, table_names
from experiments.compare import mean_interval
from experiments.launch import launch

__all__ = ["Peers", "Settings", "main", "run", "tables"]

ANCHOR = "autogluon"
LARGEST = 1e10  # bytes; the right end of the area


@final
@dataclass(frozen=True)
class Peers:
    """Interpreters of the peers; empty for one that is not there."""

    autogluon: str = ""
    flaml: str = ""
    tpot: str = ""
    autosklearn: str = ""
    lightgbm: str = ""

    def interpreter(self, system: str) -> str:
        """Return the interpreter of a system, empty for ours; the variants of one share it."""
        return str(getattr(self, system.split("_")[0], ""))


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: str
    sets: str = ""
    by_time: str = ""
    systems: str = "ours,autogluon,autogluon_limit,autogluon_deploy,flaml,tpot,autosklearn,lightgbm"
    peers: Peers = field(default_factory=Peers)
    seconds: str = "60"
    sizes: str = "5000,35000,250000"
    folds: int = 10
    repeats: int = 1
    count: int = 3
    cores: int = 2
    seed: int = 0
    out: str = "runs/bench_automl"

    def __post_init__(self) -> None:
        known = {OURS, f"{ANCHOR}_limit", f"{ANCHOR}_deploy", *(entry.name for entry in fields(Peers))}
        unknown = [name for name in self.systems.split(",") if name not in known]
        problems = [f"systems must be some of {', '.join(sorted(known))}, got {name}." for name in unknown]
        problems += [
            f"{name} must be whole numbers parted by commas, got {getattr(self, name)}."
            for name in ("seconds", "sizes")
            if not all(word.isdecimal() and int(word) > 0 for word in getattr(self, name).split(","))
        ]
        problems += [
            f"{name} must be at least {least}, got {getattr(self, name)}."
            for name, least in (("folds", 2), ("repeats", 1), ("count", 1), ("cores", 1))
            if getattr(self, name) < least
        ]
        if problems:
            raise SettingsError("\n".join(problems))


def measure(settings: Settings) -> list[Cell]:
    """Return all cells of the settings; those that are not in the record yet are measured."""
    record = Path(settings.out) / "cells.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    known = {_tag(cell.key): cell for cell in read_cells(record)}
    names = settings.sets.split(",") if settings.sets else table_names(Path(settings.data))
    seconds = [int(word) for word in settings.seconds.split(",")]
    found = []
    for name in names:
        table = read_table(Path(settings.data) / name, is_ordered=name in settings.by_time.split(","))
        made = list(folds_of(table, folds=settings.folds, repeats=settings.repeats, seed=settings.seed))
        wanted = [
            (fold, span, system)
            for fold in made[: settings.count]
            for span in seconds
            for system in settings.systems.split(",")
            if system == OURS or os.access(settings.peers.interpreter(system), os.X_OK)
        ]
        for fold, span, system in wanted:
            key = {
                **{"table": name, "metric": table.metric, "fold": fold.number, "system": system, "seconds": span},
                **{"cores": settings.cores, "folds": settings.folds, "seed": settings.seed},
                **{"is_ordered": table.is_ordered},
            }
            cell = known.get(_tag(key))
            if cell is None:
                cell = run_cell(table, fold, key, settings.peers.interpreter(system), record)
                sys.stderr.write(f"{name}, fold {fold.number}, {system}, {span} s: {_brief(cell)}\n")
            found.append(cell)
    return found


def tables(settings: Settings, cells: Sequence[Cell]) -> list[Printed]:
    """Return a table for each set, and one over all sets."""
    sizes = [int(word) for word in settings.sizes.split(",")]
    names = list(dict.fromkeys(str(cell.key["table"]) for cell in cells))
    printed = [_of_one(settings, name, [cell for cell in cells if cell.key["table"] == name], sizes) for name in names]
    return [*printed, _of_all(settings, cells, names, sizes)]


def run(settings: Settings) -> int:
    """Measure and print."""
    made = measure(settings)
    console = Console(width=190)
    for table in tables(settings, made):
        console.print(table)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(Settings, run, __doc__, arguments)


def _of_one(settings: Settings, name: str, cells: Sequence[Cell], sizes: Sequence[int]) -> Printed:
    metric, anchors = str(cells[0].key["metric"]), _anchors(cells)
    columns = [f"share <= {size:,} B" for size in sizes]
    title = f"{name}, {metric}, error of a constant {mean(cell.constant for cell in cells):.4f}"
    printed = Printed("system", "seconds", "folds", "failed", "fit s", "bytes", "error", "share", *columns,
                      "area", "1 row, ms", "10,000 rows, ms", title=title)  # fmt: skip
    for system in settings.systems.split(","):
        for seconds in settings.seconds.split(","):
            mine = [c for c in cells if c.key["system"] == system and c.key["seconds"] == int(seconds)]
            if not mine:
                where = settings.peers.interpreter(system) or f"no peers.{system.split('_')[0]}"
                printed.add_row(f"{system}: skipped, {where}", seconds)
                continue
            done = [cell for cell in mine if cell.files]
            best = [(cell, file) for cell in done if (file := cell.best_under(math.inf))]
            under = [[(c, file) for c in done if (file := c.best_under(size))] for size in sizes]
            printed.add_row(
                system,
                seconds,
                str(len(mine)),
                str(len(mine) - len(done)),
                _mean((cell.fit_seconds for cell in done), ".1f"),
                _mean((file["bytes"] for _, file in best), ",.0f"),
                _mean((file["test_error"] for _, file in best), ".4f"),
                _mean((_share(cell, file["test_error"], anchors) for cell, file in best), ".1%"),
                *(
                    f"{_mean((_share(c, file['test_error'], anchors) for c, file in pairs), '.1%')} "
                    f"({_mean((file['test_error'] for _, file in pairs), '.4f')})"
                    for pairs in under
                ),
                _mean((cell.area(LARGEST) for cell in done), ".3f"),
                _mean((cell.one_row_ms for cell in done), ",.2f"),
                _mean((cell.many_rows_ms for cell in done), ",.1f"),
            )
    printed.caption = "\n".join(line for size in sizes if (line := _paired(cells, anchors, size)))
    return printed


def _of_all(settings: Settings, cells: Sequence[Cell], names: Sequence[str], sizes: Sequence[int]) -> Printed:
    columns = [f"median share <= {size:,} B" for size in sizes]
    printed = Printed("system", "seconds", "sets", "cells", "failed", "median share", *columns, "sets of largest area",
                      title="all sets")  # fmt: skip
    anchors = _anchors(cells)
    for seconds in settings.seconds.split(","):
        spans = [cell for cell in cells if cell.key["seconds"] == int(seconds)]
        areas: dict[tuple[str, str], list[float]] = {}
        for cell in spans:
            areas.setdefault((str(cell.key["table"]), str(cell.key["system"])), []).append(cell.area(LARGEST))
        for system in settings.systems.split(","):
            mine = [cell for cell in spans if cell.key["system"] == system]
            if not mine:
                continue
            ahead = sum(
                mean(areas[name, system]) >= max(mean(made) for (other, _), made in areas.items() if other == name)
                for name in names
                if (name, system) in areas
            )
            shares = [_over_sets(mine, anchors, size) for size in (math.inf, *sizes)]
            failed = [cell for cell in mine if not cell.files]
            sets = len({cell.key["table"] for cell in mine})
            printed.add_row(system, seconds, str(sets), str(len(mine)), str(len(failed)), *shares, str(ahead))
    return printed


def _over_sets(cells: Sequence[Cell], anchors: dict[str, float], size: float) -> str:
    """Return the median over sets of the mean share of `best_under`; `-` where there is no anchor."""
    by_set: dict[str, list[float]] = {}
    for cell in cells:
        file = cell.best_under(size)
        share = _share(cell, file["test_error"] if file else cell.constant, anchors)
        if share is not None:
            by_set.setdefault(str(cell.key["table"]), []).append(share)
    return f"{median(mean(shares) for shares in by_set.values()):.1%}" if by_set else "-"


def _anchors(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the error of the anchor in its longest time, by table and fold."""
    found = {}
    for cell in sorted(cells, key=lambda cell: float(cell.key["seconds"])):
        if cell.key["system"] == ANCHOR and cell.files:
            found[_place(cell)] = float(cell.files[0]["test_error"])
    return found


def _share(cell: Cell, error: float, anchors: dict[str, float]) -> float | None:
    anchor = anchors.get(_place(cell))
    if anchor is None or anchor >= cell.constant:
        return None
    return (cell.constant - error) / (cell.constant - anchor)


def _paired(cells: Sequence[Cell], anchors: dict[str, float], size: int) -> str:
    """Return our error within a size minus the anchor's, paired by fold, in the longest time, with its interval."""
    ours = [cell for cell in cells if cell.key["system"] == OURS and _place(cell) in anchors]
    longest = max((float(cell.key["seconds"]) for cell in ours), default=0.0)
    pairs = [(c, c.best_under(size)) for c in ours if float(c.key["seconds"]) == longest]
    differences = [file["test_error"] - anchors[_place(cell)] for cell, file in pairs if file]
    if len(differences) < 2:
        return ""
    middle, low, _ = mean_interval(differences)
    reach = f"{middle:+.4f} ± {middle - low:.4f} (95 %, {len(differences)} folds)"
    return f"error of {OURS} <= {size:,} B minus {ANCHOR}'s: {reach}"


def _place(cell: Cell) -> str:
    return f"{cell.key['table']} {cell.key['fold']} {cell.key['folds']} {cell.key['seed']}"


def _mean(values: Iterable[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(mean(known), form) if known else "-"


def _tag(key: object) -> str:
    return str(sorted(dict(key).items())) if isinstance(key, dict) else str(key)


def _brief(cell: Cell) -> str:
    best = cell.best_under(math.inf)
    return f"error {best['test_error']:.4f}, {best['bytes']:,} B" if best else cell.failure


if __name__ == "__main__":
    sys.exit(main())
