"""Mine the candidates that a search of tables begins with.

    python -m experiments.mine_portfolio data=tables leave_out=adult,phoneme candidates=60 seconds=900

data         a folder of tables, as for `experiments.bench_automl`
sets         which of them, by default all
leave_out    those that are not mined on, because something is measured on them
candidates   beside the portfolio so far and the recipes of ensembles: in turn a neighbour of one of these and one drawn
             at random, the same ones for every table
seconds      for all trainings; a later call goes on where it ended
max_rows     of each table; with several, as 6000,30000, a table that has more than the first is one more table
members      of the portfolio
out          folder of the record, trials.jsonl
write        the portfolio; nothing is written where it is empty

Each candidate is trained once on each table and scored on its first validation split, as in a search. The portfolio is
chosen greedily: next comes whatever adds most to the area under skill (1 - error / error of a constant) over log10 of
the bytes, as a share of what all candidates reach together, averaged over the tables. Members are then put in order of
what each adds for every second of its training, so that a short search tries the quick ones; the first that learns from
the teacher waits for it. A table counts only with
others than itself for the figure that is printed: what a portfolio mined without it reaches on it.

Source: Feurer et al. (2022), Auto-Sklearn 2.0, arXiv:2007.04074, section 3.1, greedy portfolios; differs in that
members are judged by hypervolume of error and bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, final

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table as Printed

from automl.family import Tables
from automl.portfolio import portfolio
from automl.recipes import RECIPES
from automl.space import DEFAULTS, FAMILIES, TabularSettings, fitting, tabular_space
from automl.teacher import opinions
from engine.data import Dataset, Signature
from engine.errors import DataError
from engine.family import Family
from engine.front import hypervolume
from engine.load import DataSettings, load_frame
from engine.metrics import default_metric
from engine.score import error_of, score
from engine.space import Candidate, Value
from experiments.automl_folds import read_table, table_names
from experiments.launch import launch

__all__ = ["Settings", "greedy", "main", "quick_first", "reached"]

# A table that has everything, so that a candidate has all its genes.
WHOLE = Signature("table", "classification", (1,), "float32", ("0", "1"), 0.0, 1.0, ("x",), ("c",))
SAFE: tuple[Mapping[str, Any], ...] = (
    {"family": "constant"},
    {"family": "linear"},
    {"family": "tree", "tree.leaves": 16},
)
LARGEST = 6.0  # log10 of the bytes where the area ends: 1 MB
LEAST_SECONDS = 0.01  # that a training is supposed to take
Point = tuple[float, float]  # (error / error of a constant, log10 bytes)


@final
@dataclass(frozen=True)
class Settings:
    """What this command understands."""

    data: str
    sets: str = ""
    leave_out: str = ""
    candidates: int = 60
    seconds: float = 900.0
    max_rows: str = "4000"
    members: int = 24
    seed: int = 0
    out: str = "runs/portfolio"
    write: str = ""


def reached(points: Mapping[str, Sequence[Point]], members: Sequence[str]) -> float:
    """Return the area that some candidates' files reach on one table, as a share of what all reach; in [0, 1].

    Args:
        points: Of each candidate, by key.
        members: Keys.

    Example:
        >>> round(reached({"a": [(0.5, 3.0)], "b": [(0.25, 4.0)]}, ["a"]), 3)
        0.75
    """
    whole = hypervolume([point for found in points.values() for point in found], (1.0, LARGEST))
    part = hypervolume([point for key in members for point in points.get(key, ())], (1.0, LARGEST))
    return part / whole if whole > 0 else 1.0


def greedy(tables: Mapping[str, Mapping[str, Sequence[Point]]], count: int) -> list[str]:
    """Choose candidates one after the other, each the one that adds most over all tables.

    Args:
        tables: Points of each candidate by key, for each table.
        count: How many at most; fewer where the rest add nothing.
    """
    known = sorted({key for points in tables.values() for key in points})
    chosen: list[str] = []
    best = 0.0
    while len(chosen) < count:
        rest = [key for key in known if key not in chosen]
        values = {key: mean(reached(points, [*chosen, key]) for points in tables.values()) for key in rest}
        following = max(rest, key=lambda key: (values[key], key), default=None)
        if following is None or values[following] <= best:
            break
        best = values[following]
        chosen.append(following)
    return chosen


def quick_first(
    tables: Mapping[str, Mapping[str, Sequence[Point]]],
    members: Sequence[str],
    seconds: Mapping[str, float],
    taught: Container[str] = (),
    teacher_seconds: float = 0.0,
) -> list[str]:
    """Order members: next comes whatever adds most for each second that its training takes.

    Args:
        tables: Points of each candidate by key, for each table.
        members: Keys.
        seconds: Of each member, above 0.
        taught: Those that learn from the teacher.
        teacher_seconds: What the first of these takes longer.
    """
    ordered: list[str] = []
    best, waits = 0.0, teacher_seconds
    while len(ordered) < len(members):
        rest = [key for key in members if key not in ordered]
        values = {key: mean(reached(points, [*ordered, key]) for points in tables.values()) for key in rest}
        costs = {key: seconds[key] + (waits if key in taught else 0.0) for key in rest}
        ordered.append(max(rest, key=lambda key: ((values[key] - best) / costs[key], key)))
        best, waits = values[ordered[-1]], 0.0 if ordered[-1] in taught else waits
    return ordered


def mine(settings: Settings) -> int:
    """Train, choose, print and write."""
    record = Path(settings.out) / "trials.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    left_out = set(settings.leave_out.split(",")) - {""}
    names = settings.sets.split(",") if settings.sets else table_names(Path(settings.data))
    names = [name for name in names if name not in left_out]
    end = time.monotonic() + settings.seconds
    entries = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    done = {(entry["table"], entry["key"]) for entry in entries}
    loaded = {label: made for name in names for label, made in _loaded(settings, name)}
    with record.open("a") as stream:
        for name, candidate in _turns(settings, list(loaded)):
            if time.monotonic() > end:
                break
            if (name, candidate.key) in done:
                continue
            entry = _trained(name, candidate, *loaded[name], settings.seed)
            stream.write(json.dumps(entry) + "\n")
            stream.flush()
            entries.append(entry)
            done.add((name, candidate.key))
    tables: dict[str, dict[str, list[Point]]] = {name: {} for name in loaded}
    genes: dict[str, Any] = {}
    for entry in entries:
        if entry["table"] in tables:
            tables[entry["table"]].setdefault(entry["key"], []).extend(map(tuple, entry["points"]))
            genes[entry["key"]] = entry["genes"]
    tables = {name: points for name, points in tables.items() if points}
    if not tables:
        raise DataError("No candidate was trained on any table: give more seconds.")
    spent: dict[str, list[float]] = {}
    for entry in entries:
        spent.setdefault(entry["key"], []).append(max(entry["seconds"], LEAST_SECONDS))
    chosen = greedy(tables, settings.members)
    taught = {key for key in chosen if genes[key].get("teach", 0.0)}
    waits = mean(max(entry["teacher_seconds"] for entry in entries if entry["table"] == name) for name in tables)
    chosen = quick_first(tables, chosen, {key: mean(spent[key]) for key in chosen}, taught, waits)
    Console(width=140).print(_told(settings, tables, entries, chosen))
    for key in chosen:
        sys.stdout.write(" ".join(f"{name}={value}" for name, value in genes[key].items()) + "\n")
    if settings.write:
        Path(settings.write).write_text(_text([genes[key] for key in chosen], list(tables)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(Settings, mine, __doc__, arguments)


def _loaded(settings: Settings, name: str) -> Iterator[tuple[str, tuple[Dataset, Family, str]]]:
    """Yield a table as a search would see it, its family and metric, for each number of rows that it has."""
    table = read_table(Path(settings.data) / name)
    sizes = [int(size) for size in settings.max_rows.split(",")]
    for place, size in enumerate(sizes):
        if place and len(table.rows) <= sizes[place - 1]:
            return
        rows, label = table.rows, f"{name} ({size:,} rows)" if place else name
        if len(rows) > size:
            chosen = np.random.default_rng(settings.seed).choice(len(rows), size, replace=False)
            rows = rows.iloc[np.sort(chosen)]
        known = DataSettings("frame", task=table.task, test_share=0.0)
        loaded = load_frame(rows.drop(columns=table.target), rows[table.target], settings=known, seed=settings.seed)
        data = replace(loaded.dataset, splits=loaded.dataset.splits[:1])
        metric = default_metric(data.signature)
        family = Tables(TabularSettings(), data.signature, metric, settings.seed)
        data = family.prepare(data, seed=settings.seed)
        yield label, (data.save(Path(settings.out) / "data" / f"{name}-{size}"), family, metric)


def _turns(settings: Settings, names: Sequence[str]) -> Iterator[tuple[str, Candidate]]:
    """Return each table with each candidate, so that all tables have seen the first ones when time is up."""
    rng = np.random.default_rng(settings.seed)
    space, drawn = tabular_space(FAMILIES, WHOLE), list[Candidate]()
    recipes = [found for found in (fitting(space, recipe) for recipe in RECIPES.values()) if found is not None]
    good = list(dict.fromkeys([*portfolio(space), *recipes]))
    for number in range(settings.candidates):
        near = good[rng.integers(len(good))]
        found = space.sample(rng) if number % 2 else space.mutate(near, rng, genes=2)
        drawn.append(Candidate.of({name: _rounded(value) for name, value in found.values}))
    for candidate in (*good, *drawn):
        for name in names:
            yield name, candidate


def _trained(name: str, candidate: Candidate, data: Dataset, family: Family, metric: str, seed: int) -> dict[str, Any]:
    """Train a candidate on a table, without the genes that say nothing there; a failure has no points."""
    entry: dict[str, Any] = {"table": name, "key": candidate.key, "genes": candidate.genes, "teacher_seconds": 0.0}
    own = fitting(family.space, candidate.genes)
    if own is None:
        return entry | {"points": [], "seconds": 0.0, "failure": "not in the space of this table"}
    valid, task = data.valid(0), data.signature.task
    constant = error_of(_constant(data), valid, metric=metric, task=task)
    start, points, failure = time.perf_counter(), [], ""
    try:
        if own.genes.get("teach"):  # the first one makes the teacher
            opinions(data, 0, seed)
            entry["teacher_seconds"] = round(time.perf_counter() - start, 2)
            start = time.perf_counter()
        for _, made in family.build(
            family.canonical(own), data, fold=0, fidelity=1.0, seed=seed, report=lambda _s, _e: True
        ):
            values = score(made, made.outputs(valid.inputs()), valid, metric=metric, task=task)
            points.append((values["error"] / constant, float(np.log10(values["bytes"]))))
    except Exception as error:  # a failed trial is data here as in a search
        failure = f"{type(error).__name__}: {error}"[:200]
    return entry | {"points": points, "seconds": round(time.perf_counter() - start, 2), "failure": failure}


def _constant(data: Dataset) -> np.ndarray:
    """Return the answers of the best constant to the validation rows."""
    y, count = data.train(0).y, len(data.valid(0))
    if data.signature.task == "regression":
        return np.full((count, 1), y.mean(), np.float32)
    return np.tile(np.bincount(y, minlength=data.signature.outputs) / len(y), (count, 1)).astype(np.float32)


def _told(
    settings: Settings,
    tables: Mapping[str, Mapping[str, Sequence[Point]]],
    entries: Sequence[Mapping[str, Any]],
    chosen: Sequence[str],
) -> Printed:
    so_far = [candidate.key for candidate in portfolio(tabular_space(FAMILIES, WHOLE))]
    printed = Printed(
        "table", "candidates", "failed", "seconds", "reached", "by one mined without it", "by the one so far"
    )
    for name, points in tables.items():
        others = {other: found for other, found in tables.items() if other != name}
        without = f"{reached(points, greedy(others, settings.members)):.1%}" if others else "-"
        mine = [entry for entry in entries if entry["table"] == name]
        failed, seconds = sum(bool(entry["failure"]) for entry in mine), sum(entry["seconds"] for entry in mine)
        whole = f"{reached(points, chosen):.1%}"
        before = f"{reached(points, so_far):.1%}"
        printed.add_row(name, str(len(mine)), str(failed), f"{seconds:.0f}", whole, without, before)
    return printed


def _text(members: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return the portfolio as YAML, a member a line without the genes that are as usual, what never fails in front."""
    told = ", ".join(names)
    head = (
        "# Candidates that a search begins with, quick ones before slow ones; the first three never fail. Missing genes"
        f" are as in automl/space.py.\n# Mined by experiments/mine_portfolio.py on {told}.\n"
    )
    short = [{name: value for name, value in genes.items() if DEFAULTS.get(name) != value} for genes in members]
    whole = [*SAFE, *(genes for genes in short if genes not in SAFE)]
    lines = [f"- {yaml.safe_dump(dict(genes), default_flow_style=True, width=10_000)}" for genes in whole]
    return head + "".join(lines)


def _rounded(value: Value) -> Value:
    """Return a value that people can read: what is trained is what is written."""
    return float(f"{value:.2g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
