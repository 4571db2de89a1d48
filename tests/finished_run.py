"""Writes a small finished run folder by code; loaded by the tests that need one."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import yaml

from engine.front import Front
from engine.intervals import wilson
from engine.space import Candidate
from engine.trial import Point, State, Trial

CODINGS = ("ternary", "int4", "int8")
ROWS = 540
GRAPH = {
    "nodes": ["input", "a", "b", "output"],
    "edges": [
        ["input", "a", "conv3"],
        ["input", "b", "skip"],
        ["input", "output", "sep5"],
        ["a", "b", "conv3"],
        ["a", "output", "pool"],
        ["b", "output", "skip"],
    ],
}


def make_trials(seed=0, count=20, better=1.0):
    """A record with complete, failed, cached and oversized trials; `better` scales all errors."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        width, coding = int(rng.integers(4, 65)), CODINGS[int(rng.integers(3))]
        candidate = Candidate.of({"width": width, "coding": coding, "depth": 1 + number % 3})
        kind = {5: State.FAILED, 11: State.FAILED, 14: State.FAILED, 8: State.CACHED, 16: State.OVERSIZED}.get(number)
        if kind is not None:
            text = "Traceback ...\nValueError: loss is <nan>" if number != 14 else "MemoryError: limit of 2 GB"
            error = text if kind is State.FAILED else ""
            twin = 2 if kind is State.CACHED else None
            trials.append(Trial(number, candidate, kind, seconds=0.7, seed=number, error=error, twin=twin))
            continue
        size = round(420 + width**1.7 * {"ternary": 4, "int4": 9, "int8": 18}[coding])
        wrong = round(ROWS * min(0.9, better * (6.0 / math.sqrt(size) + 0.02 * rng.random())))
        sha256 = hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()
        point = Point(candidate, {"error": wrong / ROWS, "bytes": size, "latency_us": 9.0 + size / 900}, sha256)
        trials.append(Trial(number, candidate, State.COMPLETE, (point,), 1.5 + number / 10, number))
    return trials


def make_card(point, trial, *, classes, tested=True):
    def score(share):
        errors = max(0, round(share * ROWS))
        low, high = wilson(errors, ROWS)
        return {"error": errors / ROWS, "low": low, "high": high, "rows": ROWS}

    error, size = point.values["error"], int(point.values["bytes"])
    return {
        "task": "classification",
        "metric": "accuracy",
        "classes": list(classes),
        "bytes": size,
        "sha256": point.sha256,
        "selected_on": "validation",
        "validation": score(0.93 * error),
        "test": score(0.98 * error + 0.004) if tested else None,
        "steps": [
            {"step": "train", "detail": "40 epochs, distilled"},
            {"step": "quantize", "detail": point.candidate["coding"]},
        ],
        "coding": f"{point.candidate['coding']}, int8",
        "parameters": 5 * size,
        "decoded_bytes": 20 * size,
        "peak_memory": 9000,
        "latency_us": point.values["latency_us"],
        "split": {"name": "holdout", "seed": 0},
        "seeds": [0, 1],
        "versions": {"onnxruntime": "1.31"},
        "candidate": point.candidate.genes,
        "key": point.candidate.key,
        "description": f"{point.candidate['depth']} stages of width {point.candidate['width']}",
        "trial": trial,
        "finished": True,
        "graph": GRAPH,
    }


def write_run(folder, *, seed=0, better=1.0, classes=("zero", "one"), tested=True, finished=True, count=20, **settings):
    """Write a run folder and return its path."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    told = {"space": "cells", "data": {"name": "digits"}, "budget": 18, "seed": seed, "lag": 1, "digest": f"d{seed}"}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**told, **settings}), encoding="utf-8")
    trials = make_trials(seed, count, better)
    lines = [json.dumps(trial.to_json()) for trial in trials]
    (folder / "trials.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not finished:
        return folder
    owner = {point.sha256: trial.number for trial in trials for point in trial.points}
    front = Front.of(point for trial in trials for point in trial.points)
    for place, point in enumerate(front):
        home = folder / "front" / f"{place:02d}"
        home.mkdir(parents=True)
        card = make_card(point, owner[point.sha256], classes=classes, tested=tested)
        (home / "card.json").write_text(json.dumps(card), encoding="utf-8")
        (home / "model.onnx").write_bytes(b"onnx")
    return folder
