"""Why a row gets its answer: the rules that applied, what each said, and how that adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from rules.outputs import Points
from rules.report_words import condition_text, output_text, share_text
from rules.rule import Rule
from rules.ruleset import RuleSet
from rules.totals import totals_of

__all__ = ["Explanation", "Reason", "explained"]


@final
@dataclass(frozen=True)
class Reason:
    """A rule that had a part in an answer.

    Args:
        rule: Its identifier; `default` for what holds without any rule.
        text: Its condition, in words.
        says: What it says, in words.
        points: What it adds, one number an output; empty where it decides alone.
    """

    rule: str
    text: str
    says: str
    points: tuple[float, ...] = ()


@final
@dataclass(frozen=True)
class Explanation:
    """Why a row gets its answer.

    Args:
        answer: Name of the class, "" where the engine abstains, or the value.
        values: Probabilities of the classes, or the value.
        reasons: The rules that decided, in order.
        how: How they make the answer, in words.
        classes: Names of the classes; empty for regression.
    """

    answer: str | float
    values: tuple[float, ...]
    reasons: tuple[Reason, ...]
    how: str
    classes: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Identifiers of the rules that decided."""
        return tuple(reason.rule for reason in self.reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain containers."""
        reasons = [vars(reason) | {"points": list(reason.points)} for reason in self.reasons]
        return {"answer": self.answer, "values": list(self.values), "how": self.how, "reasons": reasons}

    def __str__(self) -> str:
        lines = [f"{self.answer if self.answer != '' else 'no answer'}: {self.how}"]
        lines += [f"  {reason.rule}: if {reason.text} then {reason.says}" for reason in self.reasons]
        return "\n".join(lines)


def explained(engine: RuleSet, inputs: Mapping[str, np.ndarray]) -> list[Explanation]:
    """Explain the answer to each row.

    Args:
        engine: The rules.
        inputs: `x`, `c` or both.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> rule = Rule("old", Condition((Numbers("age", low=60),)), Points((2.0,)))
        >>> engine = RuleSet((rule,), "sum", Points((-1.0,)), ("no", "yes"), ("age",))
        >>> print(explained(engine, {"x": np.array([[70]], np.float32)})[0])
        yes: -1 to begin with, 1 rule adds up to 1: yes with 73.1 %
          old: if age >= 60 then +2 for yes
    """
    held, values, decisions = engine.matches(inputs), engine.values(inputs), engine.decisions(inputs)
    return [_one(engine, held[row], values[row], int(decisions[row])) for row in range(len(values))]


def _one(engine: RuleSet, held: np.ndarray, values: np.ndarray, decision: int) -> Explanation:
    applied = [rule for rule, is_held in zip(engine.rules, held, strict=True) if is_held]
    answer: str | float = float(values[0])
    if engine.classes:
        answer = engine.classes[decision] if decision >= 0 else ""
    said = tuple(float(value) for value in values)
    for stage, words in (("before", "a rule decides before the model"), ("after", "a rule overrides the model")):
        deciding = next((rule for rule in applied if rule.stage == stage), None)
        if deciding is not None:
            return Explanation(answer, said, (_reason(engine, deciding),), words, engine.classes)
    model = [rule for rule in applied if rule.stage == "model"]
    if engine.policy in ("first", "unique"):
        if model:
            how = (
                "the first rule that applies decides"
                if engine.policy == "first"
                else "the one rule that applies decides"
            )
            return Explanation(answer, said, (_reason(engine, model[0]),), how, engine.classes)
        default = Reason("default", "no rule applies", output_text(engine.default, engine.classes))
        return Explanation(answer, said, (default,), "no rule applies", engine.classes)
    reasons = tuple(_reason(engine, rule) for rule in model)
    return Explanation(answer, said, reasons, _sum_text(engine, model, said), engine.classes)


def _sum_text(engine: RuleSet, model: list[Rule], values: tuple[float, ...]) -> str:
    """Return in words how rules add up."""
    count = f"{len(model)} rule{'' if len(model) == 1 else 's'}"
    if engine.policy == "vote":
        return f"{count} vote" if model else "no rule applies"
    totals = totals_of(engine)
    base = totals.base / totals.scale
    points = [rule.output.values for rule in model if isinstance(rule.output, Points)]
    weights = [rule.weight for rule in model if isinstance(rule.output, Points)]
    total = base + sum((np.array(p) * w for p, w in zip(points, weights, strict=True)), np.zeros(len(base)))
    if not engine.classes:
        return f"{base[0]:g} to begin with, {count} make it {values[0]:g}"
    best = int(np.argmax(values))
    said = f"{engine.classes[best]} with {share_text(values[best])}"
    if len(base) > 1:
        return f"{count} and what each class begins with add up: {said}"
    verb = "adds" if len(model) == 1 else "add"
    return f"{base[0]:g} to begin with, {count} {verb} up to {total[0]:g}: {said}"


def _reason(engine: RuleSet, rule: Rule) -> Reason:
    is_added = rule.stage == "model" and engine.policy == "sum" and isinstance(rule.output, Points)
    points = tuple(value * rule.weight for value in rule.output.values) if is_added else ()  # type: ignore[union-attr]
    said = Points(points) if is_added else rule.output
    return Reason(rule.id, condition_text(rule.condition), output_text(said, engine.classes), points)
