"""The family of rule models: from genes to rule sets, written as files that answer alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from engine.artifact import Artifact
from engine.data import Dataset, Rows, Signature, concatenate
from engine.errors import DataError
from engine.family import Report
from engine.score import error_of
from engine.space import Candidate, Space
from engine.trial import Point, Trial
from rules.exports.to_onnx import to_onnx
from rules.exports.write import content_of
from rules.generators.binned import comparisons
from rules.generators.constraints import Constraints
from rules.generators.generate import generate
from rules.generators.space import RulesSettings, genes_of, portfolio, rules_space
from rules.generators.teacher import taught
from rules.proof import Answers, proof_rows, prove
from rules.ruleset import RuleSet

__all__ = ["RuleModels", "bytes_name", "check_signature", "written"]

GATE_ROWS = 2000
WORDS = {
    "score": "scored rules",
    "tree": "leaves of a tree",
    "list": "rules in a list",
    "set": "rules of a set",
    "sum": "rules of a sum of trees",
}


@final
@dataclass(frozen=True)
class RuleModels:
    """Rule models for tables, one signature.

    Args:
        settings: Of the space.
        signature: Of the data.
        constraints: What the user demands.
        metric: Of the validation error that a finished winner tells.
        teacher: The user's model to learn from; without, one is boosted.
        bytes_of: The form of the rules whose length is told beside that of the ONNX file, if it is another one.
        max_bytes: Longest in that form.

    Raises:
        DataError: If the data are no table.
    """

    settings: RulesSettings
    signature: Signature
    constraints: Constraints = field(default_factory=Constraints)
    metric: str = "accuracy"
    teacher: Artifact | None = None
    bytes_of: str = "onnx"
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        check_signature(self.signature)

    @cached_property
    def space(self) -> Space:
        """Where candidates come from."""
        return rules_space(self.settings, self.signature.task, len(self.signature.classes))

    @cached_property
    def portfolio(self) -> Sequence[Candidate]:
        """A good candidate of each generator."""
        return portfolio(self.space, self.settings)

    def canonical(self, candidate: Candidate) -> Candidate:
        """Every candidate is its own representative."""
        return candidate

    def bytes(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """Which columns and values the rules name decides the length."""
        return None

    def macs(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """Rules compare; they do not multiply."""
        return None

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return the logarithm of the number of rules."""
        return (math.log10(float(candidate["rules"])),)

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:  # noqa: ARG002
        """Trials share nothing but the data."""
        return data

    def build(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        fold: int,
        fidelity: float,  # noqa: ARG002
        seed: int,
        report: Report,
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Find rules on the training rows; yield the whole path, from few rules to many, each with its own owner."""
        most = int(candidate["rules"])
        path: dict[int, RuleSet] = {}
        for limit, model in self._path(candidate, data.train(fold), seed):
            path[max(1, min(limit, most))] = model
            if not report(min(1.0, limit / most), math.nan):
                break
        path[most] = path.pop(max(path))
        gate = {name: column[:GATE_ROWS] for name, column in data.valid(fold).inputs().items()}
        for limit, model in path.items():
            yield candidate.replace(rules=limit), written(model, gate, bytes_of=self.bytes_of)

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teachers: Sequence[Artifact],  # noqa: ARG002
        effort: float,  # noqa: ARG002
        max_bytes: int | None,
        seed: int,
        refit: bool,
        own: Artifact | None = None,
    ) -> Artifact:
        """Find the rules of a winner again, with `refit` on all rows, never longer than allowed.

        The best member of the front does not teach: it knows less than the teacher that rules learn from already.
        """
        train, valid = data.train(-1), data.valid(-1)
        everything = concatenate([train, valid])
        first = own or self._last(candidate, train, everything.inputs(), seed, None)
        assert first is not None
        error = error_of(first.outputs(valid.inputs()), valid, metric=self.metric, task=self.signature.task)
        card = {"validation": {"error": error, "rows": len(valid)}, "refit": refit}
        made = first
        if refit:
            made = self._last(candidate, everything, everything.inputs(), seed, max_bytes) or first
        return replace(made, card={**made.card, **card})

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what a card says of a winner beyond its measurements."""
        genes = genes_of(point.candidate)
        name = str(genes.pop("generator"))
        detail = ", ".join(f"{key} {value}" for key, value in sorted(genes.items()))
        description = f"at most {genes['rules']} {WORDS[name]}"
        return {"description": description, "steps": [{"step": f"generator {name}", "detail": detail}]}

    def _path(self, candidate: Candidate, rows: Rows, seed: int) -> Iterator[tuple[int, RuleSet]]:
        genes = genes_of(candidate)
        soft = None
        if genes["teach"] and self.teacher is not None:
            soft = np.asarray(self.teacher.outputs(rows.inputs()), np.float64)
        elif genes["teach"]:
            soft = taught(rows, self.signature, seed=seed)
        return generate(rows, self.signature, genes, self.constraints, seed=seed, soft=soft)

    def _last(
        self, candidate: Candidate, rows: Rows, gate: Mapping[str, np.ndarray], seed: int, max_bytes: int | None
    ) -> Artifact | None:
        """Return the largest model of the path that is short enough; None if there is none."""
        for _, model in reversed(list(self._path(candidate, rows, seed))):
            if max_bytes is None or (_fits(model, "onnx", max_bytes) and _fits(model, self.bytes_of, self.max_bytes)):
                return written(model, gate, bytes_of=self.bytes_of)
        return None


def bytes_name(form: str) -> str:
    """Return what the length of a form is called, among the values of points and in cards.

    Example:
        >>> bytes_name("onnx"), bytes_name("sql")
        ('bytes', 'sql_bytes')
    """
    return "bytes" if form == "onnx" else f"{form}_bytes"


def _fits(model: RuleSet, form: str, most: int | None) -> bool:
    return most is None or len(content_of(model, form)) <= most


def check_signature(signature: Signature) -> None:
    """Raise unless the data are a table.

    Raises:
        DataError: It says what they are.
    """
    if signature.kind != "table":
        raise DataError(
            f"Rules compare the columns of a table, got {signature.kind}. Use a table: data=csv data.path=... "
            "data.target=..., or data=breast_cancer."
        )


def written(model: RuleSet, gate: Mapping[str, np.ndarray], *, bytes_of: str = "onnx") -> Artifact:
    """Write a rule set as a file, which must answer as it does.

    Args:
        model: The rules.
        gate: Rows of the data on which both are compared, beside corners of all boxes and random rows.
        bytes_of: A form whose length the card tells too.

    Raises:
        ArtifactError: If the file answers otherwise.
    """
    artifact = Artifact(to_onnx(model))
    rows = proof_rows(model, gate, seed=0)
    proof = prove(model, lambda inputs: Answers(artifact.outputs(inputs), None), rows, form="ONNX")
    conditions = sum(comparisons(atom) for rule in model.rules for atom in rule.condition.atoms)
    card: dict[str, Any] = {
        "bytes": artifact.size,
        "rules": len(model.rules),
        "conditions": conditions,
        "parameters": conditions + len(model.rules),
        "coding": model.policy,
        "ruleset": model.to_json(),
        "parity": proof.to_json(),
    }
    if bytes_of != "onnx":
        card[bytes_name(bytes_of)] = len(content_of(model, bytes_of))
        card["counted"] = bytes_name(bytes_of)
    return replace(artifact, card=card)
