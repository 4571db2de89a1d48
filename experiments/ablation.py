"""The ablation: does it pay to search on the compressed file?

    python -m experiments.ablation budget=40 train.steps=400 finish.members=16 seeds=0,1,2,3,4
    python -m experiments.ablation data.name=npz data.path=fashion_mnist.npz data.max_rows=12000 budget=40
    python -m experiments.ablation tables=tables sets=adult,phoneme,credit_g budget=40 peers=/path/to/python

tables  a folder of tables, as for `experiments.bench_automl`, instead of images; `sets` names some of them
arms    which to run, of those below
seeds   each changes the split, the search and the training
folds   into how many parts a table is divided: one of them is the test part
seconds, peers  of the LightGBM grid with onnxmltools: its time, and the interpreter it is run by
out     folder of the record, cells.jsonl, and of all runs: what is in it is not done again
Every other key is one of the search: of `nas.search` for images, of `automl.search` for tables.

file              the search as it ships: every candidate's own compressed file is scored
float_coded       a search on validation error and parameters, nothing compressed; then the front is compressed without
                  training: images by every file that `to=auto` tries, tables by all leaf and weight codings
float_retrained   the same search; then every member is trained with each coding as a trial of the first arm is, and the
                  front of those is finished as the first arm's front is. Tables: also pruned, and leaves fitted anew
default_coded     no search: ResNet-8 and two narrower ones, trained as winners are, compressed as `float_coded`; a grid
                  of LightGBM, written by our emitter
default_retrained images alone: the same shapes, trained with each coding as in `float_retrained`
default_peer      the same shapes through ONNX Runtime's `quantize_static`; the same grid through onnxmltools

All arms have the same rows, sampler, trials of the search, training and finisher; what is compressed after a search
gets trials beyond those, which the table tells. Networks are never trained on validation rows, in no arm, since those
choose among files that were coded without training. Fronts are chosen by validation errors; test rows only score. The
area lies between the error of a constant and a front's test errors, over log10 of the bytes up to `max_bytes`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from statistics import mean
from typing import Any, final

from rich.console import Console
from rich.table import Table as Printed

from automl.search import settings_of
from engine.errors import SettingsError
from engine.load import DataSettings
from engine.settings import build
from engine.tables import error_number
from experiments.ablation_fronts import Arm, constant_error, front_of, size_ratio
from experiments.ablation_nets import Nets
from experiments.ablation_tables import Forms, data_of
from experiments.automl_cells import Cell, read_cells, run_cell
from experiments.automl_folds import Fold, Table, folds_of, read_table, table_names
from experiments.compare import dominated_area, mean_interval
from experiments.launch import launch_around_search
from nas.settings import settings_for

ARMS = ("file", "float_coded", "float_retrained", "default_coded", "default_retrained", "default_peer")
LARGEST = 65_536
PEER = {"system": "lightgbm", "cores": 1}


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands, beside the settings of the search."""

    tables: str = ""
    sets: str = ""
    arms: str = ",".join(ARMS)
    seeds: str = "0,1,2,3,4"
    folds: int = 3
    seconds: int = 60
    peers: str = ""
    out: str = "runs/ablation"

    def __post_init__(self) -> None:
        problems = [
            f"arms must be some of {', '.join(ARMS)}, got {name}." for name in self.arms.split(",") if name not in ARMS
        ]
        problems += [f"seeds must be whole numbers parted by commas, got {self.seeds}."] * (
            not all(word.isdecimal() for word in self.seeds.split(","))
        )
        problems += [f"folds must be at least 2, got {self.folds}."] * (self.folds < 2)
        problems += ["sets names tables of a folder: add tables=FOLDER."] * bool(self.sets and not self.tables)
        if problems:
            raise SettingsError("\n".join(problems))


def measure(settings: Settings, given: Mapping[str, Any]) -> list[Cell]:
    """Return all cells; those that are not in the record yet are measured and recorded at once."""
    record = Path(settings.out) / "cells.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in (int(word) for word in settings.seeds.split(",")):
        for name in _sets(settings, given):
            subject: _Subject | None = None
            for arm in settings.arms.split(","):
                key = {
                    "set": name,
                    "seed": seed,
                    "arm": arm,
                    "given": json.dumps(given, sort_keys=True, default=attrgetter("text")),
                }
                cell = next((cell for cell in read_cells(record) if _is_of(cell, key)), None)
                if cell is None:
                    subject = subject or _subject(settings, given, name, seed)
                    cell = subject.cell(settings, key, record)
                found += [] if cell is None else [cell]
    return found


def run(settings: Settings, given: Mapping[str, Any]) -> int:
    """Measure and print."""
    console = Console(width=170)
    cells = measure(settings, given)
    for name in dict.fromkeys(str(cell.key["set"]) for cell in cells):
        console.print(table_of(name, [cell for cell in cells if cell.key["set"] == name]))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch_around_search(Settings, run, __doc__, arguments)


def table_of(name: str, cells: Sequence[Cell]) -> Printed:
    """Return the arms of a set side by side, each with its pairs with the first arm."""
    metric = str(cells[0].key["metric"])
    title = f"{name}: errors ({metric}) on test rows; pairs with the arm `file`, mean and 95 % interval over seeds"
    heads = ["arm", "seeds", "trials", "seconds", "files", "smallest", "best error", "area", "area of file - area"]
    printed = Printed(*heads, "seeds ahead", "bytes by those of file at equal error", title=title)
    own = {cell.key["seed"]: cell for cell in cells if cell.key["arm"] == ARMS[0] and cell.files}
    for arm in dict.fromkeys(str(cell.key["arm"]) for cell in cells):
        mine = [cell for cell in cells if cell.key["arm"] == arm]
        done = [cell for cell in mine if cell.files]
        if not done:
            printed.add_row(arm, "0", mine[0].failure)
            continue
        fronts = [front_of(cell) for cell in done]
        areas = [_area(cell) for cell in done]
        pairs = [(own[cell.key["seed"]], cell) for cell in done if arm != ARMS[0] and cell.key["seed"] in own]
        gains = [_area(first) - _area(second) for first, second in pairs]
        ratios = [math.log(size_ratio(front_of(first), front_of(second))) for first, second in pairs]
        printed.add_row(
            arm,
            str(len(done)),
            f"{mean(cell.key['trials'] for cell in done):.0f}",
            f"{mean(cell.fit_seconds or 0.0 for cell in done):.0f}",
            f"{mean(len(front.members) for front in fronts):.1f}",
            f"{mean(front.members[0][0] for front in fronts):,.0f}",
            error_number(mean(front.members[-1][1] for front in fronts), metric),
            f"{mean(areas):.4f}",
            _interval(gains, "{:+.4f}"),
            f"{sum(gain > 0 for gain in gains)} of {len(gains)}" if gains else "",
            _interval(ratios, "{:.2f}", math.exp),
        )
    return printed


@final
@dataclass(frozen=True)
class _Subject:
    """A set and a seed, ready to be measured."""

    arms: Nets | Forms
    metric: str
    table: Table | None = None
    fold: Fold | None = None

    def cell(self, settings: Settings, key: Mapping[str, Any], record: Path) -> Cell | None:
        """Measure an arm and record it; None if there is nothing to run it by."""
        arm = str(key["arm"])
        whole = {**key, "metric": self.metric, "trials": 0}
        if self.table is not None and self.fold is not None and arm == "default_retrained":
            return None
        if self.table is not None and self.fold is not None and arm == "default_peer":
            if not os.access(settings.peers, os.X_OK):
                sys.stderr.write(f"{key['set']}, {arm}: skipped, peers={settings.peers or 'nothing'}\n")
                return None
            peer = {**whole, **PEER, "seconds": settings.seconds}
            return run_cell(self.table, self.fold, peer, settings.peers, record)
        made: Arm = self.arms.arm(arm)
        constant = constant_error(self.arms.loaded, self.metric)
        cell = Cell({**whole, "trials": made.trials}, constant, made.files, made.seconds)
        with record.open("a") as stream:
            stream.write(json.dumps(asdict(cell)) + "\n")
        sys.stderr.write(f"{key['set']}, seed {key['seed']}, {arm}: {len(made.files)} files, {made.seconds:.0f} s\n")
        return cell


def _subject(settings: Settings, given: Mapping[str, Any], name: str, seed: int) -> _Subject:
    folder = Path(settings.out) / f"{name}-{seed}"
    shared = {"seed": seed, "workers": 1, "backend": {"name": "serial"}, "quiet": True}
    if not settings.tables:
        finish = {**given.get("finish", {}), "refit": False}
        plain = {"max_bytes": LARGEST, **given, **shared, "finish": finish}
        nets = Nets(build(settings_for(plain), plain), folder)
        return _Subject(nets, nets.settings.metric)
    table = read_table(Path(settings.tables) / name)
    fold = next(folds_of(table, folds=settings.folds, repeats=1, seed=seed))
    plain = {"max_bytes": LARGEST, **given, **shared, "data": asdict(data_of(table, fold, folder))}
    forms = Forms(settings_of(plain), folder)  # type: ignore[arg-type]  # of the space tabular
    return _Subject(forms, forms.metric, table, fold)


def _sets(settings: Settings, given: Mapping[str, Any]) -> Iterator[str]:
    if settings.tables:
        yield from settings.sets.split(",") if settings.sets else table_names(Path(settings.tables))
        return
    data = build(DataSettings, given.get("data", {}), where="data")
    yield Path(data.path).stem if data.path else data.name


def _is_of(cell: Cell, key: Mapping[str, Any]) -> bool:
    return all(cell.key.get(name) == value for name, value in key.items())


def _area(cell: Cell) -> float:
    largest = json.loads(cell.key["given"]).get("max_bytes", LARGEST)
    return dominated_area(front_of(cell), (cell.constant, float(largest)))


def _interval(values: Sequence[float], form: str, back: Any = float) -> str:
    if len(values) < 2:
        return "".join(form.format(back(value)) for value in values)
    middle, low, high = (form.format(back(value)) for value in mean_interval(values))
    return f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
