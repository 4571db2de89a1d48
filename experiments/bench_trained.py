"""Two trained networks: our files beside those of ONNX Runtime, NNCF, Torch-Pruning and Olive.

    python -m experiments.bench_trained folder=nets images=fashion_mnist.npz peers=/path/to/python [seeds=[0,1,2]]

A network of 14,378 parameters (normalisations folded) on digits, and with `images` one of 70,122 on images of an npz
file (`x_train`, `y_train`, `x_test`, `y_test`; `rows` of the training rows, drawn once, and `valid_rows`). Both are
trained once and kept in `folder`, with the rows. Peers run in the interpreter `peers` and see training and validation
rows only. Ours are `compress`, without training, and `search`, with retraining. Torch-Pruning trains on as long as the
network was trained, for each share. Every cell is recorded in `folder` at once; a second run goes on where the first
one ended.

Of a system counts the smallest file whose validation error is at most 0.3 points above the original's (where there is
none, that with the least). Beside a peer's file stands the smallest of ours whose validation error is at most 0.3
points above that file's. Several seeds end with means and standard deviations over them. Latency is that of one row on
one thread, the files taken in turn, the tenth percentile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, final

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from compression.compress import CompressSettings, compress
from compression.graphs.strip import stripped
from compression.recipes.settings import Settings as SearchSettings
from compression.search import run as search
from engine.artifact import session
from engine.errors import EngineError, SettingsError, did_you_mean
from engine.load import DataSettings, load
from engine.winners import FinishSettings
from experiments.launch import launch
from experiments.trained_nets import NETS, export, fit, module_of, write_state

OURS = ("compress", "search")
RECORD = "cells.jsonl"
PEER_NAMES = ("ort", "nncf", "torch_pruning", "olive")
WITHIN = 0.003  # of accuracy: files are called equal
FEW_BYTES = 3_500  # what the network for digits is to fit into
DROPS = (0.003, 0.01)  # that to=auto is allowed
WARM_UP = 20


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    folder: str
    images: str | None = None
    rows: int = 12_000
    valid_rows: int = 3_000
    systems: list[str] = field(default_factory=lambda: [*PEER_NAMES, *OURS])
    peers: str = sys.executable
    budget: int = 40
    members: int = 8
    seconds: float = 3600.0
    repeats: int = 400
    seeds: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        problems = [
            f"No system '{name}'{did_you_mean(name, [*PEER_NAMES, *OURS])} systems may hold "
            f"{', '.join([*PEER_NAMES, *OURS])}."
            for name in self.systems
            if name not in (*PEER_NAMES, *OURS)
        ]
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds must hold at least one number and none twice, got {self.seeds}.")
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True)
class File:
    """A file and what it is worth; errors are shares of rows."""

    name: str
    path: str
    bytes: int
    stripped_bytes: int
    valid_error: float
    test_error: float


@final
@dataclass(frozen=True)
class Cell:
    """What came of a system on a network."""

    net: str
    system: str
    files: Sequence[File]
    failed: Mapping[str, str]
    seconds: float
    versions: Mapping[str, str]


def run(settings: Settings) -> int:
    """Fill the record of each seed cell by cell, then print the tables."""
    nets = ["digits", *(["images"] if settings.images else [])]
    folders = {seed: Path(settings.folder, f"seed{seed}") for seed in settings.seeds}
    for seed, folder in folders.items():
        for net in nets:
            _train(settings, net, folder / net, seed)
        for net in nets:
            for system in settings.systems:
                if (net, system) not in {(cell.net, cell.system) for cell in read_cells(folder / RECORD)}:
                    cell = _cell(settings, net, system, folder / net, seed)
                    with (folder / RECORD).open("a") as stream:
                        stream.write(json.dumps(asdict(cell)) + "\n")
    console = Console(width=180)
    for net in nets:
        found = []
        for folder in folders.values():
            cells = [cell for cell in read_cells(folder / RECORD) if cell.net == net]
            original = _file("original", folder / net / "model.onnx", _rows(folder / net))
            found.append((cells, original))
            console.print(*tables(net, cells, original, _rows(folder / net), settings))
        if len(found) > 1:
            console.print(over_seeds(net, found))
    return 0


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a record; a torn last line is left out."""
    cells = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        cells.append(Cell(**{**told, "files": [File(**file) for file in told["files"]]}))
    return cells


def chosen(files: Iterable[File], valid_error: float) -> File | None:
    """Return the smallest file within 0.3 points of a validation error; where there is none, that with the least."""
    ranked = sorted(files, key=lambda file: (max(0.0, file.valid_error - valid_error - WITHIN - 1e-9), file.bytes))
    return ranked[0] if ranked else None


def over_seeds(net: str, found: Sequence[tuple[Sequence[Cell], File]]) -> Table:
    """Return means and standard deviations: of files that every seed has, and of those chosen.

    Args:
        net: The network.
        found: Cells and the original of each seed.
    """
    files: dict[tuple[str, str], list[File]] = defaultdict(list)
    for cells, original in found:
        files["", "original"].append(original)
        ours = {cell.system: cell.files for cell in cells if cell.system in OURS}
        for cell in cells:
            theirs = chosen(cell.files, original.valid_error)
            if cell.system == "compress":
                for file in cell.files:
                    files[cell.system, file.name].append(file)
            elif cell.system == "search":
                small = [file for file in cell.files if file.bytes <= FEW_BYTES]
                if small:
                    files[cell.system, f"at most {FEW_BYTES:,} bytes"].append(min(small, key=lambda f: f.valid_error))
            elif theirs is not None:
                files[cell.system, "chosen"].append(theirs)
                for name, own in ours.items():
                    files[name, f"as accurate as that of {cell.system}"].extend(
                        file for file in [chosen(own, theirs.valid_error)] if file is not None
                    )
    table = Table("system", "file", "bytes", "test error", title=f"{net}: {len(found)} seeds")
    for (system, name), made in sorted(files.items()):
        if len(made) == len(found):
            error, spread = (100 * figure([file.test_error for file in made]) for figure in (mean, stdev))
            table.add_row(system, name, f"{mean(file.bytes for file in made):,.0f}", f"{error:.2f} ± {spread:.2f} %")
    return table


def tables(
    net: str, cells: Sequence[Cell], original: File, rows: Mapping[str, np.ndarray], settings: Settings
) -> list[Table]:
    """Return what each system made of a network, and what of ours is as accurate as a peer's."""
    everything = [original, *(file for cell in cells for file in cell.files)]
    times = _latencies({file.path: Path(file.path).read_bytes() for file in everything}, rows["x_test"][:1], settings)
    whole = times[original.path]
    title = f"{net}: every file; {len(rows['x_valid'])} validation and {len(rows['x_test'])} test rows"
    each = Table("system", "file", "bytes", "stripped", "validation error", "test error", "x float32", title=title)
    for system, file in [("", original), *((cell.system, file) for cell in cells for file in cell.files)]:
        each.add_row(system, file.name, f"{file.bytes:,}", f"{file.stripped_bytes:,}", f"{file.valid_error:.2%}",
                     f"{file.test_error:.2%}", f"{times[file.path] / whole:.2f}")  # fmt: skip
    for cell in cells:
        for name, why in cell.failed.items():
            each.add_row(cell.system, f"{name}: {why[:50]}", "failed")
    both = Table("peer", "its file", "bytes", "test error", "x float32", "ours", "bytes", "test error", "x float32",
                 "smaller", "than stripped", "reached", title=f"{net}: at equal accuracy")  # fmt: skip
    ours = {name: [file for cell in cells if cell.system == name for file in cell.files] for name in OURS}
    for cell in cells:
        theirs = chosen(cell.files, original.valid_error)
        if cell.system in OURS or theirs is None:
            continue
        for name, files in ours.items():
            own = chosen(files, theirs.valid_error)
            if own is not None:
                smaller, worse = theirs.bytes / own.bytes, own.test_error - theirs.test_error
                both.add_row(
                    cell.system, theirs.name, f"{theirs.bytes:,}", f"{theirs.test_error:.2%}",
                    f"{times[theirs.path] / whole:.2f}", f"{name}: {own.name}", f"{own.bytes:,}",
                    f"{own.test_error:.2%}", f"{times[own.path] / whole:.2f}", f"{smaller:.2f} x",
                    f"{theirs.stripped_bytes / own.bytes:.2f} x", "yes" if smaller >= 2 and worse <= WITHIN else "NO",
                )  # fmt: skip
    return [each, both]


def _train(settings: Settings, net: str, folder: Path, seed: int) -> None:
    """Train a network once, and keep it with its rows; test rows lie apart from those that peers get."""
    if (folder / "model.onnx").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    data = DataSettings("digits") if net == "digits" else DataSettings("npz", path=settings.images)
    loaded = load(data, seed=seed)
    train, valid = loaded.dataset.train(-1), loaded.dataset.valid(-1)
    if net != "digits":
        order = np.random.default_rng(seed)
        train = train.take(order.permutation(len(train))[: settings.rows])
        valid = valid.take(order.permutation(len(valid))[: settings.valid_rows])
    assert loaded.test is not None
    largest = max(1.0, float(np.asarray(train.x).max()))
    parts = {"train": train, "valid": valid, "test": loaded.test}
    arrays: dict[str, Any] = {f"x_{name}": np.asarray(part.x, np.float32) / largest for name, part in parts.items()}
    arrays |= {f"y_{name}": np.asarray(part.y, np.int64) for name, part in parts.items()}
    np.savez(folder / "all_rows.npz", **arrays)
    np.savez(folder / "rows.npz", **{name: array for name, array in arrays.items() if not name.endswith("test")})
    module = fit(module_of(net, arrays, seed), arrays, epochs=NETS[net].epochs, rate=0.01, seed=seed)
    write_state(module, folder / "state.npz")
    export(module, arrays["x_train"].shape[1:], folder / "model.onnx")


def _cell(settings: Settings, net: str, system: str, folder: Path, seed: int) -> Cell:
    start = time.monotonic()
    out = folder / system
    if system == "compress":
        told = _compressed(folder, out)
    elif system == "search":
        told = _searched(settings, folder, out, seed)
    else:
        told = _peer(settings, net, system, folder, out, seed)
    rows = _rows(folder)
    files, failed = [], dict(told["failed"])
    for entry in told["files"]:
        try:
            files.append(_file(entry["name"], Path(entry["path"]), rows))
        except Exception as error:  # a file that ONNX Runtime does not open is told, not counted
            failed[entry["name"]] = f"{type(error).__name__}: {error}"[:300]
    return Cell(net, system, files, failed, time.monotonic() - start, told["versions"])


def _compressed(folder: Path, out: Path) -> dict[str, Any]:
    """Compress without training: what `python -m compression.compress` writes."""
    out.mkdir(exist_ok=True)
    files, failed = [], {}
    data = DataSettings("npz", path=str(folder / "all_rows.npz"))
    for to, drop in [("int8", None), ("int4", None), *(("auto", drop) for drop in DROPS)]:
        name = to if drop is None else f"{to} max_drop={drop}"
        path = out / f"{name.replace(' ', '_')}.onnx"
        try:
            compress(CompressSettings(str(folder / "model.onnx"), str(path), to=to, data=data, max_drop=drop))
            files.append({"name": name, "path": str(path)})
        except EngineError as error:
            failed[name] = str(error)[:300]
    return {"files": files, "failed": failed, "versions": {}}


def _searched(settings: Settings, folder: Path, out: Path, seed: int) -> dict[str, Any]:
    """Search with retraining: what `python -m compression.search` writes, never trained on validation rows."""
    found = search(
        SearchSettings(
            model=str(folder / "model.onnx"),
            data=DataSettings("npz", path=str(folder / "all_rows.npz")),
            budget=settings.budget,
            seed=seed,
            run=str(out),
            finish=FinishSettings(members=settings.members, refit=False),
        )
    )
    paths = sorted(Path(found.folder, "front").glob("*/model.onnx"))
    return {"files": [{"name": p.parent.name, "path": str(p)} for p in paths], "failed": {}, "versions": {}}


def _peer(settings: Settings, net: str, system: str, folder: Path, out: Path, seed: int) -> dict[str, Any]:
    """Run a peer in its own interpreter."""
    request = folder / f"{system}.json"
    paths = {"folder": str(folder.resolve()), "out": str(out.resolve())}
    request.write_text(json.dumps({"net": net, "seed": seed, **paths}))
    command = [settings.peers, "-I", str(Path(__file__).with_name("compression_peers.py")), system, str(request)]
    log = folder / f"{system}.log"
    empty: dict[str, Any] = {"files": [], "versions": {}}
    try:
        with log.open("w") as stream:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(command, stdout=stream, stderr=stream, timeout=settings.seconds, env=environment, check=True)
    except subprocess.TimeoutExpired:
        return {**empty, "failed": {"all": f"ended after {settings.seconds:.0f} s"}}
    except (OSError, subprocess.CalledProcessError) as error:
        lines = log.read_text(errors="replace").strip().splitlines()
        return {**empty, "failed": {"all": (lines[-1] if lines else str(error))[:300]}}
    answer: dict[str, Any] = json.loads((out / "answer.json").read_text())
    return answer


def _rows(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "all_rows.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _file(name: str, path: Path, rows: Mapping[str, np.ndarray]) -> File:
    content = path.read_bytes()
    weights = path.with_name(f"{path.name}.data")
    beside = weights.stat().st_size if weights.exists() else 0
    opened = session(content)
    errors = {}
    for part in ("valid", "test"):
        batches = np.array_split(rows[f"x_{part}"], max(1, len(rows[f"x_{part}"]) // 500))
        said = np.concatenate([opened.run(None, {"x": batch})[0] for batch in batches])
        errors[part] = float((said.argmax(1) != rows[f"y_{part}"]).mean())
    least = stripped(onnx.load_model_from_string(content)).ByteSize()
    return File(name, str(path), len(content) + beside, least, errors["valid"], errors["test"])


def _latencies(files: Mapping[str, bytes], row: np.ndarray, settings: Settings) -> dict[str, float]:
    """Return the tenth percentile of the time of one row of each file, in seconds; the files are taken in turn."""
    opened = {name: session(content) for name, content in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for repeat in range(settings.repeats + WARM_UP):
        for name, file in opened.items():
            start = time.perf_counter()
            file.run(None, {"x": row})
            if repeat >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.percentile(times, 10)) for name, times in seconds.items()}


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
