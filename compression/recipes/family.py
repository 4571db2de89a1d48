"""The family of recipes for one model: prune, factor, quantize, retrain with the original as teacher, write."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, final

import numpy as np
import onnx
import torch

from compression.graphs.fold import simplified
from compression.graphs.integer import integer
from compression.graphs.unpack import unpacked
from compression.modules.forms import forms_of
from compression.modules.importing import ImportedNetwork, read_network
from compression.modules.retrain import Lesson, Training, retrain, soft_targets
from compression.modules.writing import write_network
from compression.nets.magnitude import magnitude_mask
from compression.recipes.genes import (
    Anatomy,
    anatomy_of,
    canonical_of,
    execution_of,
    plain_candidates,
    recipe_of,
    recipes_space,
)
from compression.recipes.recipe import Recipe, applied
from compression.recipes.settings import RecipesSettings
from engine.artifact import Artifact
from engine.data import Dataset, Rows, Signature, concatenate
from engine.family import Report
from engine.score import error_of
from engine.space import Candidate, Space
from engine.trial import Point, Trial

__all__ = ["Recipes", "compressed"]

GATE_ROWS, WINNER_GATE_ROWS = 24, 2000
CALIBRATION_ROWS = 512
TRIMS = 4


@final
@dataclass(frozen=True)
class Recipes:
    """Recipes for one model.

    Args:
        model: The original, as `compression.modules.fitting.fitted` makes it.
        signature: Of the data.
        settings: Of the space.
        training: Of one trial.
        metric: Of the validation error that a finished winner tells.
        is_labelled: Whether targets are true; otherwise they are the original's own answers, and it alone teaches.
        teachers: Further models to learn from, beside the original.
        told: What every card says of the original.
    """

    model: bytes
    signature: Signature
    settings: RecipesSettings
    training: Training
    metric: str = "accuracy"
    is_labelled: bool = True
    teachers: tuple[bytes, ...] = ()
    told: Mapping[str, Any] | None = None

    @cached_property
    def anatomy(self) -> Anatomy:
        """What of the model can be changed."""
        return anatomy_of(_network(self.model), self.settings)

    @cached_property
    def space(self) -> Space:
        """Where candidates come from."""
        return recipes_space(self.anatomy, self.settings)

    @cached_property
    def portfolio(self) -> Sequence[Candidate]:
        """All layers in one coding."""
        return plain_candidates(self.space, self.settings)

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same file."""
        return canonical_of(candidate, self.anatomy, self.settings)

    def recipe(self, candidate: Candidate) -> Recipe:
        """Return the recipe of a candidate."""
        return recipe_of(candidate, self.anatomy, self.settings, self.training)

    def bytes(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """Trained values decide the length: which weights are zero, which constants are equal."""
        return None

    def macs(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """The work of a graph of any operators is not counted."""
        return None

    def features(self, candidate: Candidate) -> Sequence[float]:  # noqa: ARG002
        """Nothing is known of a candidate but its genes."""
        return ()

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:  # noqa: ARG002
        """Trials share nothing but the data."""
        return data

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Apply the recipe, train on, write through the parity gate."""
        recipe = self.recipe(candidate)
        recipe = replace(recipe, training=recipe.training.scaled(fidelity))
        valid = data.valid(fold).inputs()["x"][:GATE_ROWS]

        def told(progress: float) -> bool:
            return report(progress, math.nan)

        artifact = self._artifact(recipe, data.train(fold), valid, seed, told, None)
        yield candidate, self._executed(candidate, artifact, data.train(fold))

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teachers: Sequence[Artifact],  # noqa: ARG002
        effort: float,
        max_bytes: int | None,
        seed: int,
        refit: bool,
        own: Artifact | None = None,  # noqa: ARG002
    ) -> Artifact:
        """Train a winner long; the original teaches it, not the best member of the front, which knows less."""
        recipe = self.recipe(candidate)
        recipe = replace(recipe, training=recipe.training.scaled(effort))
        train, valid = data.train(-1), data.valid(-1)
        gate = valid.inputs()["x"][:WINNER_GATE_ROWS]
        artifact = self._artifact(recipe, train, gate, seed, lambda _progress: True, max_bytes)
        artifact = self._executed(candidate, artifact, train)
        error = error_of(artifact.outputs(valid.inputs()), valid, metric=self.metric, task=self.signature.task)
        card = {"validation": {"error": error, "rows": len(valid)}, "refit": refit}
        if refit:
            rows = concatenate([train, valid])
            artifact = self._artifact(recipe, rows, gate, seed, lambda _progress: True, max_bytes)
            artifact = self._executed(candidate, artifact, rows)
        return replace(artifact, card={**artifact.card, **card})

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what a card says of a winner beyond its measurements."""
        recipe = self.recipe(point.candidate)
        codings = Counter(layer.coding for layer in recipe.layers)
        words = ", ".join(f"{count} x {coding}" if count > 1 else str(coding) for coding, count in codings.items())
        kept = [
            f"{group.name}: {max(1, round(group.keep * width))} of {width}"
            for group, (_, width) in zip(recipe.groups, (e for p in self.anatomy.groups for e in p), strict=True)
            if group.keep < 1
        ]
        ranks = [f"{layer.name}: {layer.rank:.0%} of the full rank" for layer in recipe.layers if layer.rank != 1]
        sparse = [f"{layer.name}: {layer.density:.0%} stay" for layer in recipe.layers if layer.density is not None]
        steps = [
            {"step": "channels removed" if kept else "channels kept at 100 %", "detail": "; ".join(kept)},
            {"step": "layers factored" if ranks else "no layer factored", "detail": "; ".join(ranks)},
            *([{"step": "small weights removed", "detail": "; ".join(sparse)}] if sparse else []),
            {"step": "weights quantized", "detail": "; ".join(f"{la.name} {la.coding}" for la in recipe.layers)},
        ]
        if execution_of(point.candidate, self.settings) == "integer":
            detail = "weights and activations of eight bits, after training; integer kernels multiply them"
            steps.append({"step": "activations quantized", "detail": detail})
        return {"description": f"layers: {words}", "steps": steps}

    def _executed(self, candidate: Candidate, artifact: Artifact, rows: Rows) -> Artifact:
        """Return the file as the candidate computes; the ranges of integers are those of some training rows."""
        if execution_of(candidate, self.settings) == "float":
            return artifact
        plain = simplified(unpacked(onnx.load_model_from_string(artifact.model)))
        x = rows.take(np.arange(min(len(rows), CALIBRATION_ROWS))).inputs()["x"]
        kind = onnx.helper.tensor_dtype_to_np_dtype(plain.graph.input[0].type.tensor_type.elem_type)
        content = integer(plain, {"x": np.asarray(x, kind)})
        card = {**artifact.card, "bytes": len(content), "coding": "int8", "execution": "integer"}
        return replace(artifact, model=content, card=card)

    def _artifact(
        self, recipe: Recipe, rows: Rows, gate: np.ndarray, seed: int, report: Any, max_bytes: int | None
    ) -> Artifact:
        network = applied(_network(self.model), recipe)
        torch.manual_seed(seed)
        retrain(network, self._lesson(rows), recipe.training, seed=seed, report=report)
        return compressed(network, gate, recipe, max_bytes=max_bytes, told=self.told or {})

    def _lesson(self, rows: Rows) -> Lesson:
        inputs = rows.inputs()
        teachers = [Artifact(self.model), *(Artifact(model) for model in self.teachers)]
        soft = soft_targets([lambda x, t=teacher: t.outputs({"x": x}) for teacher in teachers], inputs["x"])  # type: ignore[misc]
        is_classes = self.signature.task == "classification"
        y = torch.from_numpy(np.asarray(rows.y, np.int64 if is_classes else np.float32)) if self.is_labelled else None
        weight = None if rows.weight is None else torch.from_numpy(np.asarray(rows.weight, np.float32))
        task: Literal["classification", "regression"] = "classification" if is_classes else "regression"
        x = torch.from_numpy(np.ascontiguousarray(inputs["x"]))
        return Lesson(x, task, y, torch.from_numpy(soft), weight)


def compressed(
    network: ImportedNetwork,
    gate: np.ndarray,
    recipe: Recipe,
    *,
    max_bytes: int | None = None,
    told: Mapping[str, Any] | None = None,
) -> Artifact:
    """Write a retrained network, with its card.

    Args:
        network: Trained, with its forms.
        gate: Rows of the data for the parity gate.
        recipe: That was applied; the card quotes it.
        max_bytes: Where the file is longer, sparse layers lose their smallest weights until it is not, if they can.
        told: What the card says beside.
    """
    written = write_network(network, gate)
    for _ in range(TRIMS):
        if max_bytes is None or len(written.model) <= max_bytes or not _trim(network, len(written.model) - max_bytes):
            break
        written = write_network(network, gate)
    card = {
        **(told or {}),
        "bytes": len(written.model),
        "parameters": written.parameters,
        "coding": ", ".join(dict.fromkeys(form.coding.name for _, form, _ in forms_of(network))),
        "decoded_bytes": 4 * written.parameters,
        "peak_memory": written.peak_memory,
        "parity": {
            "rows": written.rows,
            "difference": written.difference,
            "flips": written.flips,
            "rounding_flips": written.rounding_flips,
        },
        "recipe": asdict(recipe),
    }
    return Artifact(written.model, card)


@torch.no_grad()
def _trim(network: ImportedNetwork, excess: int) -> bool:
    """Set the smallest weights of the largest sparse layer to zero, about so many bytes of them."""
    sparse = [(form, weight) for _, form, weight in forms_of(network) if form.coding.density < 1]
    if not sparse:
        return False
    form, weight = max(sparse, key=lambda entry: int(entry[0].mask.sum()))
    bits = 8 if form.coding.name == "sparse8" else 4
    zeros = int((form.decoded(weight * form.mask) == 0).sum()) + math.ceil(8 * (excess + 2) / bits)
    form.mask.copy_(magnitude_mask(weight * form.mask, min(zeros, weight.numel() - 1)))
    return True


@lru_cache(maxsize=4)
def _network(model: bytes) -> ImportedNetwork:
    return read_network(model)
