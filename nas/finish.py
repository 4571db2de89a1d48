"""The winner's long training: distillation, a second look at validation rows, the refit on all of them."""

from __future__ import annotations

from dataclasses import replace

import torch

from compression.nets.export import export
from compression.nets.network import Network
from compression.nets.train import Examples, Recipe, train
from engine.artifact import Artifact
from engine.data import Dataset, Rows, Signature, concatenate
from engine.score import error_of
from nas.measure import measured
from nas.space import Genome, NetworkSpace

__all__ = ["finish"]


def finish(
    kind: NetworkSpace,
    genome: Genome,
    signature: Signature,
    data: Dataset,
    recipe: Recipe,
    *,
    teacher: Artifact | None,
    seed: int,
    refit: bool,
    metric: str,
) -> Artifact:
    """Train on the training rows and measure on the validation rows; then, with `refit`, train on both and ship that.

    Returns:
        The file, whose card tells the validation error of the training without validation rows.
    """
    train_rows, valid = data.train(-1), data.valid(-1)
    first = _trained(kind, genome, signature, train_rows, recipe, teacher, seed)
    artifact = export(first, valid.inputs()["x"], seed=seed, is_winner=True)
    error = error_of(artifact.outputs(valid.inputs()), valid, metric=metric, task=signature.task)
    card = {"validation": {"error": error, "rows": len(valid)}, "refit": refit}
    if refit:
        second = _trained(kind, genome, signature, concatenate([train_rows, valid]), recipe, teacher, seed)
        artifact = export(second, valid.inputs()["x"], seed=seed, is_winner=True)
    return replace(artifact, card={**artifact.card, **card})


def _trained(
    kind: NetworkSpace,
    genome: Genome,
    signature: Signature,
    rows: Rows,
    recipe: Recipe,
    teacher: Artifact | None,
    seed: int,
) -> Network:
    soft = None
    if teacher is not None:
        soft = teacher.outputs(rows.inputs())
    torch.manual_seed(seed)
    return train(
        Network(measured(kind.plan(genome, signature), rows)),
        Examples.of(rows, signature, soft),
        recipe,
        counts=kind.kept(genome),
        seed=seed,
        report=lambda _step, _error: True,
    )
