"""What each rule does on rows: how often, how right, how much alone, beside which others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from engine.data import Rows
from engine.intervals import wilson
from rules.generators.binned import comparisons
from rules.outputs import Label, Points, Probability
from rules.report_quality import luck, quality
from rules.report_words import condition_text, output_text
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["Pair", "RuleMeasures", "measured", "pairs", "speaks_for"]


@final
@dataclass(frozen=True)
class RuleMeasures:
    """One rule on some rows.

    Args:
        rule: Its identifier.
        source: `user` or `learned`.
        stage: `before`, `model` or `after`.
        text: Its condition, in words.
        says: What it says, in words.
        comparisons: Values that it names.
        support: Rows that keep the condition.
        coverage: Their share.
        speaks_for: The class that the rule makes likelier; empty for regression and for rules that abstain.
        precision: Share of its rows that have this class; None without a class or without rows.
        low: Lower end of the 95 % interval of the precision.
        high: Upper end.
        lift: Precision over the share of the class in all rows.
        recall: Share of the rows of the class that it covers.
        accuracy_gain: Weighted relative accuracy: coverage times (precision less share of the class).
        luck: How likely as many rows drawn blindly would be right as often; not corrected for the number of rules
            that were looked at while learning, which makes rules look less lucky than they are.
        quality: Further measures, by their names in the library decision-rules.
        mean: Mean target of its rows, for regression.
        unique: Share of the rows that this rule alone covers.
        cumulative: Share of the rows that this rule and those above it cover.
        shadowed: Share of its rows that rules above it cover already.
        valid_precision: Precision on rows that it has not learned from; None where there are none.
        gap: Precision less `valid_precision`.
    """

    rule: str
    source: str
    stage: str
    text: str
    says: str
    comparisons: int
    support: int
    coverage: float
    speaks_for: str
    precision: float | None
    low: float | None
    high: float | None
    lift: float | None
    recall: float | None
    accuracy_gain: float | None
    luck: float | None
    quality: Mapping[str, float]
    mean: float | None
    unique: float
    cumulative: float
    shadowed: float
    valid_precision: float | None = None
    gap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the measures as plain containers."""
        return asdict(self)


@final
@dataclass(frozen=True)
class Pair:
    """Two rules that apply to the same rows.

    Args:
        first: Identifier of the rule that comes first.
        second: Identifier of the other.
        rows: To how many rows both apply.
        jaccard: Rows of both over rows of either.
        is_conflict: Whether they speak for different classes, or pull in different directions.
        witness: Number of a row to which both apply.
    """

    first: str
    second: str
    rows: int
    jaccard: float
    is_conflict: bool
    witness: int

    def to_json(self) -> dict[str, Any]:
        """Return the pair as plain containers."""
        return asdict(self)


def measured(engine: RuleSet, rows: Rows, valid: Rows | None = None) -> list[RuleMeasures]:
    """Measure every rule.

    Args:
        engine: The rules.
        rows: Rows that they learned from.
        valid: Rows that they did not learn from, or None.
    """
    held = engine.matches(rows.inputs())
    counts = held.sum(axis=1)
    seen = np.zeros(len(rows), bool)
    unseen = None if valid is None else engine.matches(valid.inputs())
    made = []
    for place, rule in enumerate(engine.rules):
        mask = held[:, place]
        taken = seen & mask
        seen |= mask
        support = int(mask.sum())
        made.append(
            RuleMeasures(
                rule=rule.id,
                source=rule.source,
                stage=rule.stage,
                text=condition_text(rule.condition),
                says=output_text(rule.output, engine.classes),
                comparisons=sum(map(comparisons, rule.condition.atoms)),
                support=support,
                coverage=support / max(len(rows), 1),
                unique=float((mask & (counts == 1)).mean()),
                cumulative=float(seen.mean()),
                shadowed=float(taken.sum()) / max(support, 1),
                mean=float(np.asarray(rows.y)[mask].mean()) if support and not engine.classes else None,
                **_rightness(engine, rule, mask, rows),
                **_gap(engine, rule, mask, rows, None if unseen is None else unseen[:, place], valid),
            )
        )
    return made


def pairs(engine: RuleSet, inputs: Mapping[str, np.ndarray], *, most: int = 50) -> list[Pair]:
    """Return the rules that apply to the same rows, those with most rows in common first.

    Args:
        engine: The rules.
        inputs: Rows.
        most: Number of pairs.
    """
    held = engine.matches(inputs)
    shared = held.T.astype(np.float32) @ held.astype(np.float32)
    made = []
    for second in range(len(engine.rules)):
        for first in range(second):
            rows = int(shared[first, second])
            if rows:
                either = int(shared[first, first] + shared[second, second]) - rows
                one, other = engine.rules[first], engine.rules[second]
                witness = int(np.argmax(held[:, first] & held[:, second]))
                is_conflict = _direction(engine, one) != _direction(engine, other)
                made.append(Pair(one.id, other.id, rows, rows / either, is_conflict, witness))
    return sorted(made, key=lambda pair: (-pair.jaccard, pair.first, pair.second))[:most]


def speaks_for(engine: RuleSet, rule: Rule) -> int | None:
    """Return the number of the class that a rule makes likelier; None where there is none."""
    output = rule.output
    if not engine.classes:
        return None
    if isinstance(output, Label):
        return engine.classes.index(output.name)
    if isinstance(output, Probability):
        return int(np.argmax(output.values))
    if isinstance(output, Points):
        return int(np.argmax(output.values)) if len(engine.classes) > 2 else int(output.values[0] > 0)
    return None


def _direction(engine: RuleSet, rule: Rule) -> int | None:
    if engine.classes:
        return speaks_for(engine, rule)
    return int(np.sign(rule.output.values[0])) if isinstance(rule.output, Points) and engine.policy == "sum" else None


def _rightness(engine: RuleSet, rule: Rule, mask: np.ndarray, rows: Rows) -> dict[str, Any]:
    name = speaks_for(engine, rule)
    blank: dict[str, Any] = dict.fromkeys(("precision", "low", "high", "lift", "recall", "accuracy_gain", "luck"))
    blank["quality"] = {}
    if name is None:
        return {"speaks_for": "", **blank}
    support, is_class = int(mask.sum()), np.asarray(rows.y) == name
    if not support:
        return {"speaks_for": engine.classes[name], **blank}
    right, of_class = int((is_class & mask).sum()), int(is_class.sum())
    counts = {"right": right, "wrong": support - right, "of_class": of_class, "of_others": len(mask) - of_class}
    share, precision = float(is_class.mean()), right / support
    low, high = wilson(right, support)
    return {
        "speaks_for": engine.classes[name],
        "precision": precision,
        "low": low,
        "high": high,
        "lift": precision / share if share else None,
        "recall": right / max(of_class, 1),
        "accuracy_gain": support / len(mask) * (precision - share),
        "luck": luck(**counts),
        "quality": quality(**counts),
    }


def _gap(
    engine: RuleSet, rule: Rule, mask: np.ndarray, rows: Rows, unseen: np.ndarray | None, valid: Rows | None
) -> dict[str, Any]:
    name = speaks_for(engine, rule)
    if name is None or unseen is None or valid is None or not unseen.any() or not mask.any():
        return {"valid_precision": None, "gap": None}
    there = float((np.asarray(valid.y)[unseen] == name).mean())
    return {"valid_precision": there, "gap": float((np.asarray(rows.y)[mask] == name).mean()) - there}
