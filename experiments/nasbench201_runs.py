"""One search of the table of samplers on NAS-Bench-201: with ours here, with a peer in the peer's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from experiments.nasbench201 import EDGES, OPERATIONS, REPEATS_TO_END, Cells, Table, search

__all__ = ["OURS", "Found", "search_here", "search_there"]

OURS = ("pareto", "pareto_each", "pareto_error", "random", "nsga2", "tpe")
SCRIPT = Path(__file__).with_name("nasbench201_peers.py")


@final
@dataclass(frozen=True)
class Found:
    """One search.

    Args:
        rows: Evaluated, in order.
        seconds: Of processor, for all proposals.
        versions: Of the packages that proposed.
    """

    rows: list[int]
    seconds: float
    versions: Mapping[str, str]


def search_here(system: str, seed: int, evaluations: int, table: Table, cells: Cells) -> Found:
    """Search with a sampler of the registry.

    Args:
        system: One of OURS: a sampler, and which way it is used.
        seed: Of the search.
        evaluations: That it may pay for.
        table: Of results.
        cells: Of the table.
    """
    name, _, way = system.partition("_")
    problem = cells.problem(evaluations, canonical=way != "each", one_objective=way == "error")
    start = time.process_time()
    rows = search(cells, problem, table.seen / 100, name, seed)
    package = "optuna" if name in ("nsga2", "tpe") else "lilliput"
    return Found(rows, time.process_time() - start, {package: version(package)})


def search_there(system: str, interpreter: str, seed: int, evaluations: int, table: Table) -> Found | str:
    """Search with a peer.

    Args:
        system: One of `nasbench201_peers.SYSTEMS`.
        interpreter: Where the peer is installed; empty for none.
        seed: Of the search.
        evaluations: That it may pay for.
        table: Of results.

    Returns:
        The search, or why there is none.
    """
    if not interpreter:
        return f"skipped: no interpreter peers.{system.split('_')[0]}= was given"
    names = {" ".join(cell): row for cell, row in table.rows.items()}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        asked = {
            "space": {f"edge_{source}{target}": OPERATIONS for source, target in EDGES},
            "cells": {name: [table.seen[row] / 100, table.sizes[row]] for name, row in names.items()},
            **{"seed": seed, "evaluations": evaluations, "repeats": REPEATS_TO_END, "answer": str(answer)},
        }
        request.write_text(json.dumps(asked), encoding="utf-8")
        command = [interpreter, "-I", str(SCRIPT), system, str(request)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as many threads as ours takes
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"skipped: {interpreter} cannot be run: {error.strerror}"
        if done.returncode or not answer.exists():
            return f"skipped: {(done.stderr.strip().splitlines() or ['no message'])[-1][:80]}"
        given: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "failed" in given:
        return f"failed: {given['failed'][:80]}"
    return Found([names[cell] for cell in given["cells"]], given["seconds"], given["versions"])
