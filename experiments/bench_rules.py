"""Rules beside other makers of rules, at 5, 10 and 20 rules.

    python -m experiments.bench_rules data=tables sets=[heloc,compas] peers=/path/to/python out=rules.jsonl

Each set is a folder of `data` with a csv file and a meta.json that names `file`, `target` and `categorical_columns`;
two classes. Ours is `RuleClassifier(generator="auto")`: what generator to take is chosen on the training rows of a fold
alone. Peers run in the interpreter `peers`, a process for each fit; one that fails or takes longer than `seconds` is
told so. Rules and comparisons are counted alike: a rule of ours for each leaf of a tree, each cut of a sum of trees,
each term of a score; a comparison for each end of an interval and each category that is named. EBM keeps to no number
of rules: it shows what additive models reach without a limit. Every cell is written to `out` at once; a second run goes
on where the first one ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from engine.data import Rows, Signature
from engine.errors import DataError
from engine.loaders.columns import as_text
from experiments.launch import launch
from rules.generators.binned import comparisons
from rules.generators.choice import best_genes, last_of
from rules.generators.constraints import Constraints
from rules.generators.generate import generate
from rules.generators.teacher import taught

SETS = ("heart_cleveland", "tic_tac_toe", "credit_g", "compas", "heloc", "adult")
PEER_NAMES = ("cart", "hstree", "figs", "boosted", "rulefit", "ripper", "c50", "streed", "ebm")


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: str
    sets: list[str] = field(default_factory=lambda: list(SETS))
    systems: list[str] = field(default_factory=lambda: ["ours", *PEER_NAMES])
    rules: list[int] = field(default_factory=lambda: [5, 10, 20])
    folds: int = 5
    seeds: int = 3
    only: int | None = None
    peers: str = sys.executable
    seconds: float = 120.0
    out: str = "bench_rules.jsonl"


@final
@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of one fold, as both sides need them."""

    name: str
    seed: int
    number: int
    frame: pd.DataFrame
    categorical: list[str]
    y: np.ndarray
    train: np.ndarray
    test: np.ndarray


def run(settings: Settings) -> int:
    """Fill the file cell by cell, then print the table."""
    out = Path(settings.out)
    known = {_key(cell) for cell in _read(out)}
    for fold in folds(settings.data, settings.sets, n_folds=settings.folds, seeds=settings.seeds, only=settings.only):
        for system in settings.systems:
            asked = [
                count for count in settings.rules if (fold.name, fold.seed, fold.number, system, count) not in known
            ]
            cells = _ours(fold, asked) if system == "ours" else _peer(settings, fold, system, asked)
            for cell in cells if asked else ():
                with out.open("a") as file:
                    file.write(json.dumps({"set": fold.name, "seed": fold.seed, "fold": fold.number, **cell}) + "\n")
    Console(width=150).print(table_of(_read(out), settings))
    return 0


def table_of(cells: list[dict[str, Any]], settings: Settings) -> Table:
    """Return the table: means over folds and seeds; the standard error of ours less the best peer, paired."""
    table = Table("set", "rules", "system", "folds", "accuracy", "AUC", "rules used", "comparisons", "seconds",
                  "less ours, accuracy", "less ours, AUC")  # fmt: skip
    for name in settings.sets:
        for count in settings.rules:
            here = [cell for cell in cells if cell["set"] == name and cell["asked"] == count]
            ours = {(cell["seed"], cell["fold"]): cell for cell in here if cell["system"] == "ours"}
            for system in settings.systems:
                found = [cell for cell in here if cell["system"] == system]
                good = [cell for cell in found if "accuracy" in cell]
                if not good:
                    why = found[0]["failed"] if found else "not run"
                    table.add_row(name, str(count), system, f"0 of {len(found)}", str(why)[-60:])
                    continue
                means = {key: np.mean([cell[key] for cell in good]) for key in
                         ("accuracy", "auc", "rules", "comparisons", "seconds")}  # fmt: skip
                gaps = [_gap(good, ours, key) for key in ("accuracy", "auc")] if system != "ours" else ["", ""]
                table.add_row(name, str(count), system, f"{len(good)} of {len(found)}", f"{means['accuracy']:.2%}",
                              f"{means['auc']:.4f}", f"{means['rules']:.1f}", f"{means['comparisons']:.1f}",
                              f"{means['seconds']:.1f}", *gaps)  # fmt: skip
    return table


def _gap(cells: list[dict[str, Any]], ours: dict[tuple[int, int], dict[str, Any]], key: str) -> str:
    """Return how much a peer has more than ours on the same folds, with its standard error."""
    pairs = [
        (cell[key], ours[cell["seed"], cell["fold"]][key]) for cell in cells if (cell["seed"], cell["fold"]) in ours
    ]
    gaps = np.array([peer - own for peer, own in pairs])
    if not len(gaps):
        return ""
    scale = 100 if key == "accuracy" else 1
    error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.nan
    return f"{scale * gaps.mean():+.{1 if scale > 1 else 3}f} ± {scale * error:.{1 if scale > 1 else 3}f}"


def folds(data: str, sets: Sequence[str], *, n_folds: int, seeds: int, only: int | None) -> Iterator[Fold]:
    """Yield the folds of every set and seed; with `only`, the first so many of each."""
    for name in sets:
        frame, categorical, y = _read_set(Path(data) / name)
        for seed in range(seeds):
            parts = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(frame, y)
            for number, (train, test) in enumerate(parts):
                if only is None or number < only:
                    yield Fold(name, seed, number, frame, categorical, y, train, test)


def _read_set(folder: Path) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    try:
        told = json.loads((folder / "meta.json").read_text())
        frame = pd.read_csv(folder / told["file"], keep_default_na=False, na_values=[""])
        target = frame.pop(told["target"]).astype("category")
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} is not a folder with a meta.json and its csv file: {error}.") from error
    if len(target.cat.categories) != 2:
        raise DataError(f"{folder}: two classes are needed, got {len(target.cat.categories)}.")
    return frame, list(told["categorical_columns"]), target.cat.codes.to_numpy().astype(np.int64)


def _ours(fold: Fold, counts: list[int]) -> Iterator[dict[str, Any]]:
    numeric = [name for name in fold.frame if name not in fold.categorical]
    x = fold.frame[numeric].to_numpy(np.float32) if numeric else None
    texts = [as_text(fold.frame[name].astype(object)) for name in fold.categorical]
    rows = Rows(fold.y, x, np.stack(texts, axis=1).astype(str) if texts else None)
    signature = Signature("table", "classification", (len(numeric),), "float32", ("0", "1"), 0.0, 1.0,
                          tuple(map(str, numeric)), tuple(fold.categorical))  # fmt: skip
    train, test = rows.take(fold.train), rows.take(fold.test)
    start = time.perf_counter()
    chosen = best_genes(train, signature, Constraints(), sizes=counts, seed=fold.seed)
    choosing = (time.perf_counter() - start) / len(counts)
    for genes in chosen:
        start = time.perf_counter()
        soft = taught(train, signature, seed=fold.seed) if genes.get("teach") else None
        model = last_of(generate(train, signature, genes, seed=fold.seed, soft=soft))
        seconds = choosing + time.perf_counter() - start
        scores = model.values(test.inputs())[:, 1]
        yield {
            "system": "ours",
            "asked": genes["rules"],
            "accuracy": float(((scores >= 0.5) == test.y).mean()),
            "auc": float(roc_auc_score(test.y, scores)),
            "rules": len(model.rules),
            "comparisons": sum(comparisons(atom) for rule in model.rules for atom in rule.condition.atoms),
            "seconds": seconds,
            "genes": genes,
        }


def _peer(settings: Settings, fold: Fold, system: str, counts: list[int]) -> Iterator[dict[str, Any]]:
    if not counts:
        return
    frame = fold.frame.astype(object).where(fold.frame.notna(), None)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "fold.json", Path(place) / "result.json"
        told: dict[str, Any] = {"categorical": fold.categorical}
        told |= {part: frame.iloc[rows].to_dict("list") for part, rows in (("train", fold.train), ("test", fold.test))}
        told |= {"y_train": fold.y[fold.train].tolist(), "y_test": fold.y[fold.test].tolist()}
        source.write_text(json.dumps(told))
        script = Path(__file__).with_name("rules_peers.py")
        command = [settings.peers, str(script), system, str(source), ",".join(map(str, counts)), str(target)]
        why = "no result"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=settings.seconds * len(counts), cwd=place
            )
            why = (done.stderr.strip().splitlines() or [why])[-1][:200]
        except subprocess.TimeoutExpired:
            why = f"more than {settings.seconds:.0f} s a model"
        except OSError as error:
            why = f"{settings.peers}: {error.strerror}"
        if target.exists():
            results = json.loads(target.read_text())
    for count in counts:
        yield {"system": system, "asked": count, **results.get(str(count), {"failed": why})}


def _read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["set"], cell["seed"], cell["fold"], cell["system"], cell["asked"]


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
