"""The main job on digits, the whole command, several seeds.

    python -m experiments.bench_digits seeds=0,1,2 budget=100 workers=2 out=runs/bench_digits

For each seed: `python -m nas.search +space=cells budget=... seed=...`; then the test accuracy of `best_under`, chosen
on validation rows, the number of finished files, and the wall time against the time inside trials and finishing
divided by the workers. Every file is opened again in ONNX Runtime and scored on the test rows.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, final

from rich.console import Console
from rich.table import Table

from engine.artifact import Artifact
from engine.load import DataSettings, load
from engine.tables import read_cards, read_trials
from experiments.launch import launch

LIMITS = (2000, 3500, 5000, 10_000)


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    seeds: str = "0,1,2"
    budget: int = 100
    workers: int = 2
    out: str = "runs/bench_digits"


@final
@dataclass(frozen=True)
class Measured:
    """One seed: the run's cards, and its times in seconds."""

    seed: int
    cards: list[dict[str, Any]]
    accuracies: dict[int, float]
    wall: float
    work: float
    flips: int


def measure(settings: Settings, seed: int) -> Measured:
    """Run the command and score its files on the test rows."""
    folder = Path(settings.out) / f"seed-{seed}-{int(time.time())}"
    command = [sys.executable, "-m", "nas.search", "+space=cells", f"budget={settings.budget}", f"seed={seed}"]
    start = time.perf_counter()
    subprocess.run([*command, f"workers={settings.workers}", f"run={folder}"], check=True)
    wall = time.perf_counter() - start
    cards = [dict(card) for card in read_cards(folder)]
    test = load(DataSettings(), seed=seed).test
    if test is None:
        raise SystemExit("digits has no test rows")
    for card in cards:
        outputs = Artifact.load(folder / "front" / f"{card['member']:02d}").outputs(test.inputs())
        error = float((outputs.argmax(1) != test.y).mean())
        if not math.isclose(error, card["test"]["error"], abs_tol=1e-12):
            raise SystemExit(f"{folder}: member {card['member']} has a test error of {error}, its card says otherwise")
    finishing = [json.loads(path.read_text())["finish_seconds"] for path in folder.glob("finished/*/card.json")]
    work = sum(trial.seconds for trial in read_trials(folder)) + sum(finishing)
    accuracies = {limit: 1 - best["test"]["error"] for limit in LIMITS if (best := best_under(cards, limit))}
    return Measured(seed, cards, accuracies, wall, work, sum(card["parity"]["flips"] for card in cards))


def best_under(cards: list[dict[str, Any]], limit: int) -> Mapping[str, Any]:
    """Return the card with the smallest validation error among files of at most `limit` bytes."""
    fitting = [card for card in cards if card["bytes"] <= limit]
    return min(fitting, key=lambda card: card["validation"]["error"]) if fitting else {}


def run(settings: Settings) -> int:
    """Print the table."""
    found = [measure(settings, int(seed)) for seed in settings.seeds.split(",")]
    names = [f"<= {limit} B" for limit in LIMITS]
    table = Table("seed", "files", *names, "flips", "wall s", "work s / workers", "ratio")
    for one in found:
        shares = [f"{100 * one.accuracies[limit]:.2f}" if limit in one.accuracies else "-" for limit in LIMITS]
        ideal = one.work / settings.workers
        times = [f"{one.wall:.0f}", f"{ideal:.0f}", f"{one.wall / ideal:.2f}"]
        table.add_row(str(one.seed), str(len(one.cards)), *shares, str(one.flips), *times)
    columns = [[100 * one.accuracies[limit] for one in found if limit in one.accuracies] for limit in LIMITS]
    spread = [f"{mean(c):.2f} ± {stdev(c) if len(c) > 1 else 0:.2f}" if c else "-" for c in columns]
    table.add_row("mean", "", *spread, "", "", "", "")
    Console().print("Test accuracy in % of best_under, chosen on validation rows; 540 test rows", table)
    return 0


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
