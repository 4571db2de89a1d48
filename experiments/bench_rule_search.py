"""One search for rules, and its front of error against comparisons, beside other makers of rules.

    python -m experiments.bench_rules data=tables peers=/path/to/python out=rules.jsonl
    python -m experiments.bench_rule_search data=tables cells=rules.jsonl out=fronts.jsonl

Sets and folds are those of `experiments.bench_rules`, whose file `cells` holds what its peers reached. For each fold a
whole search runs on the training rows, as `python -m rules.search` does it, with its 50 trials; every file of its front
is scored on the test rows. Every fold is written to `out` at once; a second run goes on where the first one ended.

The table has a row for each system. Area: the share of hypervolume of its points in (error, logarithm of 1 +
comparisons) on test rows, up to the error of the more frequent class and 127 comparisons. Rank: by area, within a fold.
Dominated: how many of the front's members have a point of that peer that is as good on both axes and better on one.
Less chosen: for each point of the peer, its error less that of the member which validation rows would choose within the
same number of comparisons; mean and standard error over folds, positive where the search is better.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from engine.backends.settings import BackendSettings
from engine.front import hypervolume, is_dominated
from engine.load import DataSettings
from experiments.bench_rules import SETS, Fold, folds
from experiments.launch import launch
from rules.search import run as search
from rules.settings import Settings as SearchSettings

MOST_COMPARISONS = 127
OURS = "search"


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: str
    cells: str
    sets: list[str] = field(default_factory=lambda: list(SETS))
    folds: int = 5
    seeds: int = 3
    only: int | None = None
    budget: int = 50
    out: str = "bench_rule_search.jsonl"


def run(settings: Settings) -> int:
    """Fill the file fold by fold, then print the table."""
    out = Path(settings.out)
    known = {_key(entry) for entry in _read(out)}
    for fold in folds(settings.data, settings.sets, n_folds=settings.folds, seeds=settings.seeds, only=settings.only):
        key = (fold.name, fold.seed, fold.number)
        if key not in known:
            entry = {"set": fold.name, "seed": fold.seed, "fold": fold.number, **_searched(fold, settings.budget)}
            with out.open("a") as file:
                file.write(json.dumps(entry) + "\n")
    Console(width=150).print(table_of(_read(out), _read(Path(settings.cells)), settings.sets))
    return 0


def table_of(fronts: list[dict[str, Any]], cells: list[dict[str, Any]], sets: list[str]) -> Table:
    """Return the table of the folds that were searched and in which a peer has points."""
    table = Table("set", "system", "folds", "points", "area", "rank", "dominated by it", "less chosen, error in %")
    ranks: dict[str, list[float]] = {}
    for name in sets:
        rows: dict[str, list[dict[str, float]]] = {}
        for front in (front for front in fronts if front["set"] == name):
            for system, told in _compared(front, cells).items():
                rows.setdefault(system, []).append(told)
        for system, reached in sorted(rows.items(), key=lambda entry: -np.mean([fold["area"] for fold in entry[1]])):
            ranks.setdefault(system, []).append(float(np.mean([fold["rank"] for fold in reached])))
            means = [f"{np.mean([fold[key] for fold in reached]):.{digits}f}" for key, digits in _SHOWN]
            beaten = sum(fold["beaten"] for fold in reached)
            of = sum(fold["members"] for fold in reached)
            table.add_row(name, system, str(len(reached)), *means, *(["", ""] if system == OURS else
                          [f"{beaten:.0f} of {of:.0f}", _spread([fold["less"] for fold in reached])]))  # fmt: skip
    for system, found in sorted(ranks.items(), key=lambda entry: float(np.mean(entry[1]))):
        table.add_row("mean", system, f"{len(found)} sets", "", "", f"{np.mean(found):.2f}", "", "")
    return table


_SHOWN = (("points", 1), ("area", 3), ("rank", 2))


def _compared(front: dict[str, Any], cells: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each system reached in a fold."""
    systems: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        if _key(cell) == _key(front) and "accuracy" in cell and cell["system"] != "ours":
            systems.setdefault(cell["system"], []).append((1 - cell["accuracy"], float(cell["comparisons"])))
    members = [(entry["test"], float(entry["comparisons"])) for entry in front["members"]]
    told: dict[str, dict[str, float]] = {}
    reference = (front["majority_error"], math.log2(1 + MOST_COMPARISONS))
    for system, points in {OURS: members, **systems}.items():
        area = hypervolume([(error, math.log2(1 + count)) for error, count in points], reference)
        told[system] = {
            "points": len(points),
            "area": area / (reference[0] * reference[1]),
            "beaten": sum(is_dominated(member, points) for member in members) if system != OURS else 0,
            "members": len(members),
            "less": float(np.mean([error - _chosen(front, count) for error, count in points])),
        }
    for system, rank in zip(told, rankdata([-entry["area"] for entry in told.values()]), strict=True):
        told[system]["rank"] = float(rank)
    return told


def _chosen(front: dict[str, Any], count: float) -> float:
    """Return the test error of the member that validation rows would choose within a number of comparisons."""
    within = [entry for entry in front["members"] if entry["comparisons"] <= count]
    if not within:
        return float(front["majority_error"])
    return float(min(within, key=lambda entry: (entry["validation"], entry["comparisons"]))["test"])


def _spread(values: list[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{100 * np.mean(values):+.1f} ± {100 * error:.1f}"


def _searched(fold: Fold, budget: int) -> dict[str, Any]:
    """Search on the training rows of a fold, score the front on its test rows."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        paths = {}
        for part, rows in (("train", fold.train), ("test", fold.test)):
            paths[part] = str(Path(place) / f"{part}.csv")
            fold.frame.iloc[rows].assign(target_class=fold.y[rows]).to_csv(paths[part], index=False)
        kinds = {str(name): "category" if name in fold.categorical else "number" for name in fold.frame}
        settings = SearchSettings(
            data=DataSettings(
                "csv",
                path=paths["train"],
                test_path=paths["test"],
                target="target_class",
                types=kinds,
                task="classification",
            ),
            backend=BackendSettings("serial"),
            workers=1,
            budget=budget,
            seed=fold.seed,
            run=str(Path(place) / "run"),
            quiet=True,
        )
        found = search(settings)
        cards = [(member.point.values["error"], member.artifact.card) for member in found.members]
    return {
        "majority_error": float(min(np.mean(fold.y[fold.test]), 1 - np.mean(fold.y[fold.test]))),
        "seconds": time.perf_counter() - start,
        "trials": len(found.study.known()),
        "members": [
            {
                "validation": validation,
                "test": card["test"]["error"],
                "comparisons": card["conditions"],
                "rules": card["rules"],
                "bytes": card["bytes"],
            }
            for validation, card in cards
        ],
    }


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["set"], entry["seed"], entry["fold"]


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
