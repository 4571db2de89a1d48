"""Kill a search after recorded trials, resume it, and compare with an undisturbed one.

    python -m experiments.bench_resume kills=10 budget=12

Each of `kills` runs of the same search is killed (signal 9, driver and workers) right after its k-th recorded trial, k
drawn at random, and resumed. Nothing recorded may be lost or run twice, and the final files must be the same bytes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Console
from rich.table import Table

from experiments.launch import launch


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    kills: int = 10
    budget: int = 12
    seed: int = 0
    steps: int = 60


def command(settings: Settings, folder: Path) -> list[str]:
    """Return the search, small enough to be run many times."""
    options = [f"budget={settings.budget}", f"train.steps={settings.steps}", "finish.members=3", "quiet=true"]
    return [sys.executable, "-m", "nas.search", "+space=cells", *options, "max_macs=300000", f"run={folder}"]


def recorded(folder: Path) -> list[int]:
    """Return the numbers in the record, in order of the file."""
    path = folder / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)["number"] for line in lines if line.endswith(b"\n")]


def files(folder: Path) -> list[bytes]:
    """Return the models of the finished front, in order."""
    return [path.read_bytes() for path in sorted(folder.glob("front/*/model.onnx"))]


def killed(settings: Settings, folder: Path, after: int) -> list[int]:
    """Run the search, kill it after its k-th recorded trial, and return what was recorded then."""
    process = subprocess.Popen(command(settings, folder), start_new_session=True, stdout=subprocess.DEVNULL)
    while len(recorded(folder)) < after and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return recorded(folder)


def run(settings: Settings) -> int:
    """Print the table; return 0 if every resumed run is whole and equal."""
    draws = random.Random(settings.seed)
    table = Table("killed after", "recorded then", "recorded at the end", "lost", "run twice", "files equal")
    is_whole = True
    with tempfile.TemporaryDirectory() as place:
        calm = Path(place) / "calm"
        subprocess.run(command(settings, calm), check=True, stdout=subprocess.DEVNULL)
        expected = files(calm)
        for number in range(settings.kills):
            folder = Path(place) / f"killed-{number}"
            after = draws.randint(1, settings.budget - 1)
            before = killed(settings, folder, after)
            subprocess.run(command(settings, folder), check=True, stdout=subprocess.DEVNULL)
            end = recorded(folder)
            lost = len(set(before) - set(end))
            twice = sum(count - 1 for count in Counter(end).values())
            is_equal = files(folder) == expected
            is_whole &= lost == 0 and twice == 0 and is_equal and set(end) == set(recorded(calm))
            table.add_row(*map(str, (after, len(before), len(end), lost, twice, "yes" if is_equal else "NO")))
    Console().print(table)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
