"""Samplers on NAS-Bench-201: ours beside those of NePS and Syne Tune, in one table.

    python -m experiments.bench_nasbench201 table=FILE.csv.gz peers.neps=/path/to/python peers.syne=/path/to/python

table           the gzipped CSV file of the cells, as `experiments.nasbench201` reads it
systems         pareto, random, nsga2 and tpe; pareto_each: a cell that computes the same as an earlier one costs too;
                neps, neps_negated, syne, syne_ranked and syne_ehvi: see `experiments/nasbench201_peers.py`;
                pareto_error, neps_error and syne_error: search for the error alone
peers.NAME      the interpreter of a peer; without one, its rows say that they were skipped
seeds, evaluations            of each system
slow.seeds, slow.evaluations  of those that take seconds for a proposal: neps, syne_ehvi, syne_error and their kin
out             folder with a JSON file a system and seed: what is in it is not searched again

Everybody sees the error after 12 epochs, and pays for the same cell only once. Ours also knows the parameters of a cell
beforehand and which cells compute the same; peers are told operations alone, and pay for each cell. A search ends early
where 200 proposals in a row are known. Regret is that of the cell of least error seen. Written after each mean: its
standard error over the seeds. Milliseconds are those of the processor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import final

from rich.console import Console
from rich.table import Table as Printed

from engine.errors import SettingsError, did_you_mean
from experiments.launch import launch
from experiments.nasbench201 import REGRET_AT, Cells, Table, checkpoints, read_table, told
from experiments.nasbench201_peers import SYSTEMS as PEERS
from experiments.nasbench201_runs import OURS, Found, search_here, search_there

__all__ = ["Counts", "Interpreters", "Settings", "main", "run"]

KNOWN = (*OURS, *PEERS)
SLOW = ("neps", "neps_negated", "neps_error", "syne_ehvi", "syne_error")
BARS = {50: 93.0, 100: 95.5, 200: 96.5}


@final
@dataclass(frozen=True)
class Interpreters:
    """Interpreters of the peers; empty for one that is not there."""

    neps: str = ""
    syne: str = ""


@final
@dataclass(frozen=True)
class Counts:
    """How much is searched with a system."""

    seeds: int = 10
    evaluations: int = 100


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    table: str
    systems: str = ",".join(KNOWN)
    peers: Interpreters = field(default_factory=Interpreters)
    seeds: int = 30
    evaluations: int = 200
    slow: Counts = field(default_factory=Counts)
    out: str = "runs/bench_nasbench201"

    def __post_init__(self) -> None:
        problems = [
            f"No system '{name}'{did_you_mean(name, KNOWN)} Systems: {', '.join(KNOWN)}."
            for name in self.systems.split(",")
            if name not in KNOWN
        ]
        counts = {"seeds": self.seeds, "evaluations": self.evaluations}
        counts |= {f"slow.{name}": count for name, count in asdict(self.slow).items()}
        problems += [f"{name} must be at least 1, got {count}." for name, count in counts.items() if count < 1]
        if not Path(self.table).is_file():
            problems.append(f"table={self.table} must be the gzipped CSV file of NAS-Bench-201's cells: no such file.")
        if problems:
            raise SettingsError("\n".join(problems))

    def counts(self, system: str) -> Counts:
        """Return how much is searched with a system."""
        return self.slow if system in SLOW else Counts(self.seeds, self.evaluations)


def run(settings: Settings) -> int:
    """Search what is not in the folder yet, and print the table."""
    table = read_table(settings.table)
    out = Path(settings.out) / sha256(Path(settings.table).read_bytes()).hexdigest()[:8]
    out.mkdir(parents=True, exist_ok=True)
    cells = Cells(table)
    counts = [str(count) for count in checkpoints(settings.evaluations)]
    printed = Printed("system", "version", "seeds", "cells", *counts, f"regret at {REGRET_AT}", "ms a cell")
    printed.title = "share of the test hypervolume in %, after so many cells"
    versions: dict[str, str] = {}
    for system in settings.systems.split(","):
        found = _searches(settings, system, table, cells, out)
        if isinstance(found, str):
            printed.add_row(system, found)
            continue
        versions |= {name: number for search in found for name, number in search.versions.items()}
        printed.add_row(*_row(system, found, table, settings))
    printed.add_row("to reach", "", "", "", *(str(BARS.get(int(count), "")) for count in counts))
    printed.caption = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    Console(width=140).print(printed)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(Settings, run, __doc__, arguments)


def _searches(settings: Settings, system: str, table: Table, cells: Cells, out: Path) -> list[Found] | str:
    """Return the searches with a system, or why there is none."""
    counts, found = settings.counts(system), []
    for seed in range(counts.seeds):
        path = out / f"{system}_{counts.evaluations}_{seed}.json"
        if path.exists():
            made: Found | str = Found(**json.loads(path.read_text(encoding="utf-8")))
        else:
            if system in OURS:
                made = search_here(system, seed, counts.evaluations, table, cells)
            else:
                interpreter = str(getattr(settings.peers, system.split("_")[0]))
                made = search_there(system, interpreter, seed, counts.evaluations, table)
            if isinstance(made, Found):
                waiting = path.with_suffix(".part")
                waiting.write_text(json.dumps(asdict(made)) + "\n", encoding="utf-8")
                waiting.replace(path)  # so that a search cut short leaves no half of a file
                told_of = f"{len(made.rows)} cells, {100 * table.share(made.rows):.2f} %, {made.seconds:.0f} s"
                sys.stderr.write(f"{system}, seed {seed}: {told_of}\n")
        if isinstance(made, str):
            return made
        found.append(made)
    return found


def _row(system: str, found: Sequence[Found], table: Table, settings: Settings) -> list[str]:
    most = settings.counts(system).evaluations
    shares = [
        told([100 * table.share(search.rows[:count]) for search in found])
        if count <= most and not system.endswith("_error")
        else "-"
        for count in checkpoints(settings.evaluations)
    ]
    regret = told([table.regret(search.rows[:REGRET_AT]) for search in found]) if most >= REGRET_AT else "-"
    name, number = next(iter(found[0].versions.items()))
    reached = mean(len(search.rows) for search in found)
    milliseconds = 1000 * sum(search.seconds for search in found) / sum(len(search.rows) for search in found)
    return [system, f"{name} {number}", str(len(found)), f"{reached:.0f}", *shares, regret, f"{milliseconds:,.1f}"]


if __name__ == "__main__":
    sys.exit(main())
