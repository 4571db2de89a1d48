"""The winner's long training: distillation, a second look at validation rows, the refit on all of them."""

from __future__ import annotations

from collections.abc import Sequence
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
from nas.teach import opinions

__all__ = ["finish"]


def finish(
    kind: NetworkSpace,
    genome: Genome,
    signature: Signature,
    data: Dataset,
    recipe: Recipe,
    *,
    teachers: Sequence[Artifact],
    seed: int,
    refit: bool,
    metric: str,
) -> Artifact:
    """Train on the training rows and measure on the validation rows; then, with `refit`, train on both and ship that.

    Returns:
        The file, whose card tells the validation error of the training without validation rows.
    """
    train_rows, valid = data.train(-1), data.valid(-1)
    first = _trained(kind, genome, signature, train_rows, recipe, teachers, seed)
    artifact = export(first, valid.inputs()["x"], seed=seed, is_winner=True)
    error = error_of(artifact.outputs(valid.inputs()), valid, metric=metric, task=signature.task)
    card = {"validation": {"error": error, "rows": len(valid)}, "refit": refit}
    if refit:
        second = _trained(kind, genome, signature, concatenate([train_rows, valid]), recipe, teachers, seed)
        artifact = export(second, valid.inputs()["x"], seed=seed, is_winner=True)
    return replace(artifact, card={**artifact.card, **card})


def _trained(
    kind: NetworkSpace,
    genome: Genome,
    signature: Signature,
    rows: Rows,
    recipe: Recipe,
    teachers: Sequence[Artifact],
    seed: int,
) -> Network:
    torch.manual_seed(seed)
    return train(
        Network(measured(kind.plan(genome, signature), rows)),
        Examples.of(rows, signature, opinions(teachers, rows, mirrored=recipe.flip and signature.kind == "images")),
        recipe,
        counts=kind.kept(genome),
        seed=seed,
        report=lambda _step, _error: True,
    )
