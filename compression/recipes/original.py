"""The user's own model in a search: what it answers, what it is worth, and the family made from it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from compression.modules.fitting import fitted
from compression.modules.importing import read_network
from compression.modules.renormalize import renormalized
from compression.modules.retrain import Training
from compression.recipes.family import Recipes
from compression.recipes.settings import Settings
from compression.recipes.source import model_from
from engine.artifact import Artifact, session
from engine.ending import ending
from engine.errors import DataError
from engine.launch import Run
from engine.load import Loaded
from engine.loaders.archive import read_archive
from engine.score import error_of
from engine.study import seed_of
from engine.tables import bytes_text, error_text
from engine.teacher import checked_teacher

__all__ = ["ending_for", "labelled", "recipes_for", "smallest_beyond"]

LOOKED_AT_ROWS = 256
STATISTICS_ROWS = 512
BATCH_ROWS = 2048


def labelled(settings: Settings) -> tuple[Settings, bool]:
    """Return settings whose data have targets, and whether these are true.

    An npz or npy file without targets gets the original's own answers: a copy with `y` is written beside the run
    folder (`<run>.npz`). Every error is then a difference from the original, on rows whose truth nobody knows.
    """
    data = settings.data
    if data.name != "npz" or not data.path or not Path(data.path).is_file():
        return settings, True
    arrays = read_archive(Path(data.path))
    if "x" not in arrays or (data.target or "y") in arrays:
        return settings, True
    shape = arrays["x"].shape[1:]
    if len(shape) == 2 and data.kind != "signals":
        shape = (1, *shape)  # images of one channel
    model = model_from(settings.model, shape)
    answers = _answers(model, arrays["x"])
    task = data.task or ("regression" if answers.shape[1] == 1 else "classification")
    y = answers[:, 0] if task == "regression" else answers.argmax(1)
    if task == "classification" and len(np.unique(y)) != answers.shape[1]:
        lost = sorted(set(range(answers.shape[1])) - set(y.tolist()))
        raise DataError(f"On the rows of {data.path} the model never answers {lost}: give rows of every class.")
    run = settings.run or f"runs/recipes-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path(f"{run}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    everything: dict[str, Any] = {**arrays, data.target or "y": y}
    np.savez(path, **everything)
    metric = settings.metric if task == "classification" or settings.metric != "accuracy" else "rmse"
    return replace(settings, run=run, metric=metric, data=replace(data, path=str(path), task=task)), False


def recipes_for(settings: Settings, loaded: Loaded, *, is_labelled: bool) -> tuple[Settings, Recipes]:
    """Return the family for a model and data, and the settings as they suit them.

    Raises:
        EngineError: If the model cannot be read, retrained, or does not fit the data.
    """
    data, test = loaded.dataset, loaded.test
    signature = data.signature
    if signature.task == "regression" and settings.metric == "accuracy":
        settings = replace(settings, metric="rmse")
    if settings.space.executions is None:
        executions = ["float", "integer"] if settings.cost == "latency_us" else ["float"]
        settings = replace(settings, space=replace(settings.space, executions=executions))
    rows = data.valid(-1)
    if rows.x is None:
        raise DataError("The data have no numbers, which a model with one numeric input needs.")
    source = model_from(settings.model, signature.shape)
    made = fitted(source, signature, rows.x[:LOOKED_AT_ROWS])
    network = read_network(made)  # says here, not in a trial, what cannot be retrained
    some = data.rows.take(data.splits[-1].train[:STATISTICS_ROWS]).inputs()["x"]
    network = renormalized(network, torch.from_numpy(some))
    original = Artifact(network.to_model().SerializeToString(deterministic=True))
    error = error_of(original.outputs(rows.inputs()), rows, metric=settings.metric, task=signature.task)
    told: dict[str, Any] = {"bytes": source.ByteSize(), "error": error, "rows": len(rows), "is_labelled": is_labelled}
    if test is not None and len(test):
        outputs = original.outputs(test.inputs())
        told["test_error"] = error_of(outputs, test, metric=settings.metric, task=signature.task)
    teachers = () if settings.teacher is None else (checked_teacher(settings.teacher, data).model,)
    family = Recipes(
        original.model,
        signature,
        settings.space,
        Training(**vars(settings.train)),
        settings.metric,
        is_labelled,
        teachers,
        {"original": told},
    )
    return settings, family


def smallest_beyond(run: Run, settings: Settings, family: Recipes, loaded: Loaded) -> tuple[Path, Artifact] | None:
    """Write the smallest file of a search in which none kept the limit; None where a file did, or none was made.

    Returns:
        The folder, `smallest` in the run folder, and the file.
    """
    points = [point for trial in run.study.known() for point in trial.points]
    if run.members or not points:
        return None
    least = min(points, key=lambda point: (point.values["bytes"], point.values["error"]))
    seed = seed_of(settings.seed, least.candidate)
    built = family.build(
        least.candidate, loaded.dataset, fold=-1, fidelity=1.0, seed=seed, report=lambda _step, _error: True
    )
    _, artifact = next(built)
    card = {**artifact.card, "validation": {"error": least.values["error"]}}
    artifact = replace(artifact, card=card)
    artifact.save(run.folder / "smallest")
    return run.folder / "smallest", artifact


def ending_for(settings: Settings, run: Run, beyond: tuple[Path, Artifact] | None, arguments: Sequence[str]) -> int:
    """Print what became of the original, the front, and why it is what it is; return the exit code."""
    card = run.members[0].artifact.card if run.members else beyond[1].card if beyond else {}
    original, metric = card.get("original"), str(card.get("metric", settings.metric))
    if original:
        words = "error" if original["is_labelled"] else "difference from itself"
        tested = f", {error_text(original['test_error'], metric)} on test rows" if "test_error" in original else ""
        sys.stdout.write(
            f"Original: {error_text(original['error'], metric)} {words} on validation rows{tested}, "
            f"{bytes_text(original['bytes'])}.\n"
        )
    code = ending(run, "compression.search", arguments)
    if beyond is not None:
        folder, artifact = beyond
        sys.stdout.write(
            f"The smallest is kept: {folder / 'model.onnx'}, {bytes_text(artifact.size)} with "
            f"{error_text(artifact.card['validation']['error'], metric)} error. Smaller shares in space.keeps go below "
            "it.\n"
        )
    return code


def _answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a model whose input has any name and takes the rows as they are, or reshaped."""
    given = {tensor.name for tensor in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in given)
    sizes = [size.dim_value or None for size in value.type.tensor_type.shape.dim]
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    opened, rows = session(model.SerializeToString()), sizes[0] or BATCH_ROWS
    whole = x.astype(dtype)
    if None not in sizes[1:]:
        whole = whole.reshape(len(x), *[size or 0 for size in sizes[1:]])
    count = len(x) - len(x) % rows if sizes[0] else len(x)
    parts = [opened.run(None, {value.name: whole[n : n + rows]})[0] for n in range(0, count, rows)]
    return np.concatenate(parts)
