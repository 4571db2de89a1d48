"""Compare a finished file with rows whose target is known.

    python -m engine.evaluate model=PATH data=labelled.csv target=column [json=true]

model   an ONNX file, or the folder that holds model.onnx and card.json
data    a csv or csv.gz file, an npz file with x and y, or a folder of class folders with images
target  column of the csv file; array of the npz file (y if not given)
json    one line of JSON instead of tables
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from engine.artifact import Artifact
from engine.command import settings_command
from engine.errors import DataError
from engine.inputs import read_inputs
from engine.intervals import wilson
from engine.loaders.columns import as_numbers, as_text, canonical_text, is_missing

__all__ = ["EvaluateSettings", "evaluate", "main"]

MAX_CONFUSION = 20


@final
@dataclass(frozen=True)
class EvaluateSettings:
    """What the command takes; the module's text describes each key."""

    model: str
    data: str
    target: str | None = None
    json: bool = False


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Run the file on labelled rows.

    Returns:
        For classes: rows, errors, error, low, high (Wilson, 95 %), recall and count by class, confusion (rows: true,
        columns: predicted) for at most 20 classes. For values: rows, rmse, mae, r2.

    Raises:
        EngineError: If the model or the rows cannot be used, or a label is not one of the model's classes.
    """
    path = Path(settings.data)
    target = settings.target
    if target is None and path.suffix.lower() == ".npz":
        target = "y"
    if target is None and not path.is_dir():
        raise DataError(f"target must be given for {path}: add target=<column>.")
    artifact = Artifact.load(settings.model)
    inputs = read_inputs(artifact, path, target=target)
    if inputs.target is None:
        raise DataError(f"{path} must have one folder for each class to be compared with, it has images only.")
    missing = int(is_missing(inputs.target).sum())
    if missing:
        raise DataError(f"{path} must have a target in every row, it is missing in {missing} of {len(inputs.target)}.")
    outputs = artifact.outputs(inputs.arrays)
    if artifact.task == "regression":
        return _values(inputs.target, outputs[:, 0].astype(np.float64))
    return _classes(inputs.target, outputs.argmax(axis=1), artifact.classes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 2 for anything wrong with what was given."""
    return settings_command(EvaluateSettings, _told, usage=__doc__ or "", arguments=arguments)


def _told(settings: EvaluateSettings) -> str:
    result = evaluate(settings)
    return json.dumps(result) if settings.json else _text(result)


def _values(target: pd.Series, guessed: np.ndarray) -> dict[str, Any]:
    known, other = as_numbers(target)
    if other.any():
        raise DataError(f"The target must hold numbers for this model, got {str(target[other].iloc[0])!r}.")
    residual = guessed - known
    spread = float(((known - known.mean()) ** 2).sum())
    return {
        "rows": len(known),
        "rmse": float(np.sqrt((residual**2).mean())),
        "mae": float(np.abs(residual).mean()),
        "r2": 1 - float((residual**2).sum()) / spread if spread else None,
    }


def _classes(target: pd.Series, guessed: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    index = {canonical_text(name): number for number, name in enumerate(classes)}
    labels = as_text(target)
    unknown = sorted(set(labels.tolist()) - set(index))
    if unknown:
        raise DataError(
            f"Labels must be classes of the model, got {', '.join(map(repr, unknown[:5]))}"
            f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}. Classes: {', '.join(classes)}."
        )
    known = np.asarray([index[label] for label in labels.tolist()])
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(table, (known, guessed), 1)
    wrong = int((known != guessed).sum())
    low, high = wilson(wrong, len(known))
    counts = table.sum(axis=1)
    result: dict[str, Any] = {
        "rows": len(known),
        "errors": wrong,
        "error": wrong / len(known),
        "low": low,
        "high": high,
    }
    result["count"] = dict(zip(classes, counts.tolist(), strict=True))
    result["recall"] = {name: float(table[n, n] / counts[n]) if counts[n] else None for n, name in enumerate(classes)}
    if len(classes) <= MAX_CONFUSION:
        result["confusion"] = table.tolist()
    return result


def _text(result: dict[str, Any]) -> str:
    if "rmse" in result:
        share = "-" if result["r2"] is None else f"{result['r2']:.4f}"
        return f"rows  {result['rows']}\nRMSE  {result['rmse']:.6g}\nMAE   {result['mae']:.6g}\nR2    {share}"
    lines = [
        f"rows      {result['rows']}",
        f"error     {result['error']:.2%} ({result['errors']} rows), "
        f"95 % interval {result['low']:.2%} to {result['high']:.2%}",
        f"accuracy  {1 - result['error']:.2%}",
        "",
    ]
    names = list(result["recall"])
    width = max(5, *(len(name) for name in names))
    lines += [f"{'class':<{width}}  {'rows':>8}  {'recall':>8}"]
    for name in names:
        recall = result["recall"][name]
        lines.append(f"{name:<{width}}  {result['count'][name]:>8}  {'-' if recall is None else f'{recall:.2%}':>8}")
    if "confusion" in result:
        cell = max(len(str(value)) for row in result["confusion"] for value in row)
        lines += ["", "true class, then how often each class was predicted, in the same order"]
        for name, row in zip(names, result["confusion"], strict=True):
            lines.append(f"{name:<{width}}  " + " ".join(f"{value:>{cell}}" for value in row))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
