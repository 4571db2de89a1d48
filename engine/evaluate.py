"""Compare a finished file with rows whose target is known.

    python -m engine.evaluate model=PATH data=labelled.csv target=column [group=column,...] [metric=auc] [json=true]

model   an ONNX file, or the folder that holds model.onnx and card.json
data    a table (.csv, .csv.gz, .parquet, .jsonl), an npz file with x and y, or a folder of class folders with images
target  column of the table; array of the npz file (y if not given)
group   columns by whose values the rows are judged group by group; by default the protected columns of the card that
        the data have
metric  one more error, such as auc, log_loss, ks, or a scorer of scikit-learn; by default the metric of the card
json    one line of JSON instead of tables
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from engine.artifact import Artifact
from engine.command import settings_command
from engine.data import Rows
from engine.errors import DataError
from engine.groups import group_report
from engine.inputs import read_inputs
from engine.intervals import wilson
from engine.loaders.columns import as_numbers, as_text, canonical_text, is_missing
from engine.metrics import is_of_labels, metric_called, metric_named
from engine.score import error_of
from engine.tables import error_text

__all__ = ["EvaluateSettings", "evaluate", "main"]

MAX_CONFUSION = 20
CELL = 19  # characters of a figure of a group
SHARES = ("error", "positive_rate", "true_positive_rate", "false_positive_rate")


@final
@dataclass(frozen=True)
class EvaluateSettings:
    """What the command takes; the module's text describes each key."""

    model: str
    data: str
    target: str | None = None
    group: list[str] = field(default_factory=list)
    metric: str | None = None
    json: bool = False


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Run the file on labelled rows.

    Returns:
        For classes: rows, errors, error, low, high (Wilson, 95 %), recall and count by class, confusion (rows: true,
        columns: answered) for at most 20 classes. For values: rows, rmse, mae, r2. For both: `metric` with its
        `metric_error`, and `groups`, by column the figures of each group. Labels are answered as the card says.

    Raises:
        EngineError: If the model or the rows cannot be used, or a label is not one of the model's classes.
    """
    path = Path(settings.data)
    target = settings.target
    if target is None and path.suffix.lower() == ".npz":
        target = "y"
    if not path.exists():
        raise DataError(f"data={path} does not exist.")
    if target is None and not path.is_dir():
        raise DataError(f"target must be given for {path}: add target=<column>.")
    artifact = Artifact.load(settings.model)
    groups = [name.strip() for entry in settings.group for name in entry.split(",")]
    inputs = read_inputs(artifact, path, ids=groups, target=target, also=_protected(artifact))
    if inputs.target is None:
        raise DataError(f"{path} must have one folder for each class to be compared with, it has images only.")
    missing = int(is_missing(inputs.target).sum())
    if missing:
        raise DataError(f"{path} must have a target in every row, it is missing in {missing} of {len(inputs.target)}.")
    outputs = artifact.outputs(inputs.arrays)
    columns = [*groups, *(name for name in _protected(artifact) if name in inputs.ids.columns and name not in groups)]
    protected = {name: as_text(inputs.ids[name]) for name in columns}
    if artifact.task == "regression":
        rows = Rows(_known_values(inputs.target))
        result = _values(rows.y, outputs[:, 0].astype(np.float64))
    else:
        rows = Rows(_known_classes(inputs.target, artifact.classes))
        result = _classes(rows.y, artifact.decision.labels(outputs), artifact.classes)
    metric = settings.metric or _metric_of_card(artifact)
    if metric:
        result |= {"metric": metric, "metric_error": _error_by(metric, outputs, rows, artifact)}
    if protected:
        result["groups"] = group_report(outputs, rows, protected, artifact.decision, artifact.classes)
    return result


def _metric_of_card(artifact: Artifact) -> str | None:
    told = artifact.card.get("metric")
    return told if isinstance(told, str) and metric_called(told) is not None else None


def _error_by(metric: str, outputs: np.ndarray, rows: Rows, artifact: Artifact) -> float:
    """Return an error; a metric of labels judges the labels that are answered."""
    metric_named(metric, artifact.task)
    if artifact.task == "classification" and is_of_labels(metric):
        outputs = np.eye(outputs.shape[1], dtype=np.float32)[artifact.decision.labels(outputs)]
    return error_of(outputs, rows, metric=metric, task=artifact.task)


def _protected(artifact: Artifact) -> list[str]:
    told = artifact.card.get("protected_columns")
    return [str(name) for name in told] if isinstance(told, list) else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 2 for anything wrong with what was given."""
    return settings_command(EvaluateSettings, _told, usage=__doc__ or "", arguments=arguments)


def _told(settings: EvaluateSettings) -> str:
    result = evaluate(settings)
    return json.dumps(result) if settings.json else _text(result)


def _known_values(target: pd.Series) -> np.ndarray:
    known, other = as_numbers(target)
    if other.any():
        raise DataError(f"The target must hold numbers for this model, got {str(target[other].iloc[0])!r}.")
    return known


def _values(known: np.ndarray, guessed: np.ndarray) -> dict[str, Any]:
    residual = guessed - known
    spread = float(((known - known.mean()) ** 2).sum())
    return {
        "rows": len(known),
        "rmse": float(np.sqrt((residual**2).mean())),
        "mae": float(np.abs(residual).mean()),
        "r2": 1 - float((residual**2).sum()) / spread if spread else None,
    }


def _known_classes(target: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    index = {canonical_text(name): number for number, name in enumerate(classes)}
    labels = as_text(target)
    unknown = sorted(set(labels.tolist()) - set(index))
    if unknown:
        raise DataError(
            f"Labels must be classes of the model, got {', '.join(map(repr, unknown[:5]))}"
            f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}. Classes: {', '.join(classes)}."
        )
    return np.asarray([index[label] for label in labels.tolist()], dtype=np.int64)


def _classes(known: np.ndarray, guessed: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
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
    lines = _values_lines(result) if "rmse" in result else _classes_lines(result)
    if "metric" in result:
        lines.insert(lines.index("") if "" in lines else len(lines), _metric_line(result))
    for column, groups in result.get("groups", {}).items():
        lines += ["", *_group_lines(column, groups)]
    return "\n".join(lines)


def _metric_line(result: dict[str, Any]) -> str:
    return f"error by {result['metric']}: {error_text(result['metric_error'], result['metric'])}"


def _group_lines(column: str, groups: list[dict[str, Any]]) -> list[str]:
    """Return a table of groups: shares in percent, other figures as they are."""
    names = [name for name in groups[0] if name not in ("group", "low", "high")]
    width = max(len(column), *(len(entry["group"]) for entry in groups))
    lines = [f"{column:<{width}}  " + "  ".join(f"{name.replace('_', ' '):>{CELL}}" for name in names)]
    for entry in groups:
        cells = [_cell(name, entry[name]) for name in names]
        lines.append(f"{entry['group']:<{width}}  " + "  ".join(f"{cell:>{CELL}}" for cell in cells))
    return lines


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value}" if name == "rows" else f"{value:.2%}" if name in SHARES else f"{value:.6g}"


def _values_lines(result: dict[str, Any]) -> list[str]:
    share = "-" if result["r2"] is None else f"{result['r2']:.4f}"
    figures = {"rows": result["rows"], "RMSE": f"{result['rmse']:.6g}", "MAE": f"{result['mae']:.6g}", "R2": share}
    return [f"{name:<5} {figure}" for name, figure in figures.items()]


def _classes_lines(result: dict[str, Any]) -> list[str]:
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
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
