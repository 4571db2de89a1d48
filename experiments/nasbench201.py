"""Samplers on NAS-Bench-201: a search over a table of results, without training.

python -m experiments.nasbench201 table=nb201_cifar10.csv.gz sampler=pareto seeds=30 evaluations=200 out=pareto.json
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import numpy as np

from engine.command import settings_command
from engine.errors import DataError, SettingsError
from engine.objective import Objective, Problem
from engine.samplers.registry import sampler_named
from engine.space import Candidate, Choice, Space
from engine.trial import Point, State, Trial

__all__ = ["Cells", "Settings", "Table", "checkpoints", "main", "read_table", "search", "told"]

USAGE = """usage: python -m experiments.nasbench201 table=FILE.csv.gz [sampler=pareto|random|tpe|nsga2|gp] [seeds=30]
                                         [evaluations=200] [canonical=true] [regret=true] [out=FILE.json]

A search sees the validation error after 12 epochs and the parameters of each cell that it evaluates. Prints which share
of the hypervolume of the whole table it hands over, judged by the test error after 200 epochs, and the regret of the
cell that a search for the error alone hands over after 100 evaluations. canonical=false: a cell that computes the
same as an earlier one costs an evaluation too, as it does where nobody knows its canonical form. Written after each
mean: its standard error over the seeds.
"""
OPERATIONS = ("none", "skip", "conv1", "conv3", "average3")  # 0 .. 4 in the table
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # source and target
PATHS = (((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)))  # from input to output
LONGEST = 3  # edges of a path
PARAMETERS = {"conv1": 28_000, "conv3": 252_000}  # of an operation, over the whole network
FIXED_PARAMETERS = 73_306
WORST = 20.0  # test error in percent, from which on a cell covers nothing
CHECKPOINTS = (50, 100, 200)
REGRET_AT = 100
REPEATS_TO_END = 200  # as in the study

SPACE = Space({f"cell.{source}{target}": Choice(OPERATIONS) for source, target in EDGES})


@final
@dataclass(frozen=True)
class Settings:
    """What this experiment understands.

    Args:
        table: The CSV file, gzipped.
        sampler: By name, as in the registry.
        seeds: Searches.
        evaluations: Of each search.
        canonical: Whether cells that compute the same are one, so that a repeat costs nothing.
        regret: Whether to search for the error alone as well.
        out: JSON file for the rows evaluated.
    """

    table: str
    sampler: Literal["pareto", "random", "tpe", "nsga2", "gp"] = "pareto"
    seeds: int = 30
    evaluations: int = 200
    canonical: bool = True
    regret: bool = True
    out: str = ""

    def __post_init__(self) -> None:
        counts = {"seeds": self.seeds, "evaluations": self.evaluations}
        problems = [f"{name} must be at least 1, got {count}." for name, count in counts.items() if count < 1]
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True)
class Table:
    """The results of all cells, one array entry a row of the file.

    Args:
        rows: Row of each cell, given as the operations of its edges in the order of EDGES.
        seen: Validation error after 12 epochs, in percent.
        test: Test error after 200 epochs, in percent.
        sizes: Parameters on edges that lie on a path from input to output.
    """

    rows: Mapping[tuple[str, ...], int]
    seen: np.ndarray
    test: np.ndarray
    sizes: np.ndarray

    def share(self, order: Sequence[int]) -> float:
        """Return which share of the whole table's hypervolume is handed over by a search that evaluated these rows.

        It hands over what is not dominated in what it saw; the volume lies in the unit square of log test error (from
        the best to WORST) and log parameters (from the smallest to the largest).
        """
        return self._volume(_front(sorted(set(order)), self.sizes, self.seen)) / self._whole

    def regret(self, order: Sequence[int]) -> float:
        """Return how much the cell with the least error seen errs more than the best one, in percentage points."""
        return float(self.test[min(order, key=lambda row: self.seen[row])] - self.test.min())

    @cached_property
    def _whole(self) -> float:
        return self._volume(range(len(self.test)))

    def _volume(self, rows: Sequence[int]) -> float:
        best, smallest, largest = self.test.min(), self.sizes.min(), self.sizes.max()
        heights = np.log(np.minimum(self.test, WORST) / best) / math.log(WORST / best)
        places = np.log(self.sizes / smallest) / math.log(largest / smallest)
        steps = _front(rows, places, heights)
        ends = [*(places[row] for row in steps[1:]), 1.0]
        return float(sum((end - places[row]) * (1 - heights[row]) for row, end in zip(steps, ends, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print the shares, write the rows."""
    return settings_command(Settings, _run, usage=USAGE, arguments=arguments)


def read_table(path: str | Path) -> Table:
    """Read all cells.

    Args:
        path: A gzipped CSV file with the columns `op_1_0` ... `op_3_2` (target, source), `cifar10_val_acc_12ep` and
            `cifar10_test_acc_200ep`.

    Raises:
        DataError: If the file is not there, or is not such a table.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        cells = [tuple(OPERATIONS[int(line[f"op_{target}_{source}"])] for source, target in EDGES) for line in lines]
        seen = np.array([100 - float(line["cifar10_val_acc_12ep"]) for line in lines])
        test = np.array([100 - float(line["cifar10_test_acc_200ep"]) for line in lines])
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"table={path} must be the gzipped CSV file of NAS-Bench-201's cells: {error!r}.") from error
    rows = {cell: row for row, cell in enumerate(cells)}
    if len(rows) != len(OPERATIONS) ** len(EDGES) or len(lines) != len(rows):
        raise DataError(f"table={path} must hold each of the 15,625 cells once, got {len(lines)} rows.")
    return Table(rows, seen, test, np.array([parameters(cell) for cell in cells], float))


def checkpoints(evaluations: int) -> list[int]:
    """Return after how many evaluations a search of so many is told of."""
    return [count for count in CHECKPOINTS if count <= evaluations] or [evaluations]


def parameters(cell: Sequence[str]) -> int:
    """Return the parameters of the operations on paths from input to output, and of the fixed layers.

    Args:
        cell: Operation of each edge, in the order of EDGES.

    Example:
        >>> parameters(("conv3", "none", "none", "conv1", "none", "none"))
        101306
    """
    present = [(edge, operation) for edge, operation in zip(EDGES, cell, strict=True) if operation != "none"]
    reached, needed = {0}, {3}
    for (source, target), _ in present:  # in the order of targets
        if source in reached:
            reached.add(target)
    for (source, target), _ in sorted(present, reverse=True):
        if target in needed:
            needed.add(source)
    alive = [operation for (source, target), operation in present if source in reached and target in needed]
    return FIXED_PARAMETERS + sum(PARAMETERS.get(operation, 0) for operation in alive)


def expression(cell: Sequence[str]) -> str:
    """Return what a cell computes, as text: equal for cells that differ in dead edges, skips or the order of nodes.

    Args:
        cell: Operation of each edge, in the order of EDGES.

    Example:
        >>> expression(("skip", "none", "none", "conv3", "conv1", "none"))
        'conv1(x)+conv3(x)'
    """
    terms: dict[int, list[str]] = {0: ["x"]}
    for target in (1, 2, 3):
        found: list[str] = []
        for (source, end), operation in zip(EDGES, cell, strict=True):
            if end == target and operation != "none" and terms[source]:
                found += terms[source] if operation == "skip" else [f"{operation}({'+'.join(terms[source])})"]
        terms[target] = sorted(found)
    return "+".join(terms[3])


def features(cell: Sequence[str]) -> list[float]:
    """Return what the paths from input to output tell of a cell: eight numbers in [0, 1].

    Their number; whether one of them only skips; the most and the fewest convolutions on one, the most 3 x 3 ones, the
    fewest and the most poolings, and the mean number of convolutions.

    Args:
        cell: Operation of each edge, in the order of EDGES.
    """
    by_edge = dict(zip(EDGES, cell, strict=True))
    paths = [[by_edge[edge] for edge in path] for path in PATHS]
    alive = [path for path in paths if "none" not in path]
    if not alive:
        return [0.0] * 8
    convolutions = [sum(operation in PARAMETERS for operation in path) for path in alive]
    poolings = [path.count("average3") for path in alive]
    counts: list[float] = [max(convolutions), min(convolutions), max(path.count("conv3") for path in alive)]
    counts += [min(poolings), max(poolings), sum(convolutions) / len(alive)]
    only_skips = any(set(path) == {"skip"} for path in alive)
    return [len(alive) / len(PATHS), float(only_skips), *(count / LONGEST for count in counts)]


@final
class Cells:
    """The cells of a table as candidates; the first one that computes the same with as many parameters is canonical.

    Args:
        table: Of results.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._canonical: dict[Candidate, Candidate] = {}
        first: dict[tuple[str, float], Candidate] = {}
        for cell in itertools.product(OPERATIONS, repeat=len(EDGES)):
            candidate = Candidate.of(dict(zip(SPACE, cell, strict=True)))
            twins = expression(cell), float(table.sizes[table.rows[cell]])
            self._canonical[candidate] = first.setdefault(twins, candidate)

    def problem(self, evaluations: int, *, canonical: bool, one_objective: bool) -> Problem:
        """Return what a sampler may know.

        Args:
            evaluations: That a search may pay for.
            canonical: Whether cells that compute the same are one.
            one_objective: Whether all cells count as equally large.
        """
        return Problem(
            SPACE,
            Objective("error"),
            Objective("parameters"),
            self._canonical.__getitem__ if canonical else _itself,
            (lambda _: 1.0) if one_objective else self._size,
            evaluations,
            features=lambda candidate: features(_operations(candidate)),
        )

    def row(self, candidate: Candidate) -> int:
        """Return the row of a cell."""
        return self._table.rows[_operations(candidate)]

    def _size(self, candidate: Candidate) -> float:
        return float(self._table.sizes[self.row(candidate)])


def search(cells: Cells, problem: Problem, errors: np.ndarray, sampler: str, seed: int) -> list[int]:
    """Return the rows that one search evaluates, in order: the study's loop, one trial at a time, over a table.

    A search ends early where 200 proposals in a row hold nothing new.

    Args:
        cells: Of the table.
        problem: As `cells` gives it.
        errors: What a search sees of each row, a share.
        sampler: By name, as in the registry.
        seed: Of the search.
    """
    proposer = sampler_named(sampler, seed=seed)
    trials: list[Trial] = []
    rows: list[int] = []
    first: dict[str, int] = {}
    repeats = 0
    while len(rows) < problem.budget and repeats < REPEATS_TO_END:
        number = len(trials)
        proposal = proposer.propose(problem, trials, [], np.random.default_rng([seed, number]))
        candidate, row = problem.canonical(proposal), cells.row(proposal)
        twin = first.setdefault(candidate.key, number)
        if twin != number and problem.canonical is not _itself:
            repeats += 1
            trials.append(Trial(number, candidate, State.CACHED, trials[twin].points, twin=twin))
            continue
        repeats = 0
        rows.append(row)
        cost = problem.exact_cost(candidate)
        values = {problem.error.name: float(errors[row]), problem.cost.name: 1.0 if cost is None else cost}
        trials.append(Trial(number, candidate, State.COMPLETE, (Point(candidate, values),)))
    return rows


def _run(settings: Settings) -> str:
    table = read_table(settings.table)
    cells, errors = Cells(table), table.seen / 100
    both = cells.problem(settings.evaluations, canonical=settings.canonical, one_objective=False)
    start = time.perf_counter()
    found = [search(cells, both, errors, settings.sampler, seed) for seed in range(settings.seeds)]
    seconds = time.perf_counter() - start
    if settings.out:
        text = json.dumps({"sampler": settings.sampler, "seeds": found})
        Path(settings.out).write_text(text + "\n", encoding="utf-8")
    milliseconds = 1000 * seconds / sum(map(len, found))
    lines = [f"{settings.sampler}, {settings.seeds} seeds, {milliseconds:.0f} ms an evaluation"]
    for count in checkpoints(settings.evaluations):
        shares = [100 * table.share(order[:count]) for order in found]
        lines.append(f"{count:4d} evaluations: {told(shares)} % of the test hypervolume")
    if settings.regret:
        alone = cells.problem(min(REGRET_AT, settings.evaluations), canonical=settings.canonical, one_objective=True)
        orders = [search(cells, alone, errors, settings.sampler, seed) for seed in range(settings.seeds)]
        regrets = [table.regret(order) for order in orders]
        lines.append(f"{alone.budget:4d} evaluations for the error alone: regret {told(regrets)} points")
    return "\n".join(lines)


def told(values: Sequence[float]) -> str:
    """Return a mean over seeds with its standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.2f} +- {error:.2f}"


def _operations(candidate: Candidate) -> tuple[str, ...]:
    return tuple(str(candidate[name]) for name in SPACE)


def _itself(candidate: Candidate) -> Candidate:
    return candidate


def _front(rows: Sequence[int], costs: np.ndarray, errors: np.ndarray) -> list[int]:
    front: list[int] = []
    for row in sorted(rows, key=lambda row: (costs[row], errors[row])):
        if not front or errors[row] < errors[front[-1]]:
            front.append(row)
    return front


if __name__ == "__main__":
    sys.exit(main())
