"""The report of a rule model: every rule with what it does on rows, and the whole model, as JSON and as a page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from engine.data import Rows
from engine.page import page
from rules.analysis import contradictions, shadows
from rules.report_counterfactual import counterfactual
from rules.report_explain import explained
from rules.report_measures import measured, pairs
from rules.report_monotone import certified
from rules.report_plots import calibration_bins, calibration_picture
from rules.report_stability import Stability
from rules.report_words import share_text
from rules.ruleset import RuleSet

__all__ = ["Report", "report_of", "write_report"]


@final
@dataclass(frozen=True)
class Report:
    """A report, as plain containers.

    Args:
        content: What `to_json` writes.
    """

    content: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.content, indent=2, sort_keys=True, allow_nan=False)

    def to_html(self, *, title: str = "Rules") -> str:
        """Return the report as one page that opens offline and runs nothing from the data."""
        content = self.content
        parts = [
            f"<h1>{html.escape(title)}</h1>",
            f'<p class="lead">{html.escape(content["model"]["words"])}</p>',
            "<h2>The rules</h2>",
            _table(content["rules"], RULE_COLUMNS),
            f"<p>{MEANINGS}</p>",
            "<h2>Rules that meet</h2>",
            _table(content["pairs"], PAIR_COLUMNS) if content["pairs"] else "<p>No two rules apply to one row.</p>",
            *(f"<p>{html.escape(line)}</p>" for line in content["model"]["findings"]),
            "<h2>The whole model</h2>",
            _facts(content["model"]["figures"]),
        ]
        if content["calibration"]:
            parts += ["<h3>Calibration</h3>", calibration_picture(content["calibration"])]
        if content["stability"]:
            parts += ["<h3>Stability</h3>", _facts(content["stability"]["figures"])]
        if content["monotone"]:
            parts += ["<h3>Directions</h3>", _table(content["monotone"], MONOTONE_COLUMNS)]
        parts += ["<h2>One decision</h2>", f"<pre>{html.escape(content['example']['text'])}</pre>"]
        if content["example"]["counterfactual"]:
            said = f"Smallest change that flips it: {content['example']['counterfactual']['text']}"
            parts.append(f"<p>{html.escape(said)}</p>")
        if content["front"]:
            parts += ["<h2>The front</h2>", _table(content["front"], FRONT_COLUMNS)]
        return page(title, "\n".join(parts))


MEANINGS = (
    "Covers is the share of all rows for which the rule holds. Precision is the share of those that have the class it "
    "speaks for, with its 95 % interval; lift is how many times that is the share of the class in all rows. By luck is "
    "how likely rows drawn blindly would be right as often (however many rules were looked at). Alone is the share of "
    "all rows that no other rule covers, so far that which this rule and those above it cover, shadowed the share of "
    "its rows that rules above it cover too. Unseen rows is the precision on rows that the rule did not learn from; "
    "gap is how much smaller that is."
)
RULE_COLUMNS = {
    "rule": "rule",
    "text": "if",
    "says": "then",
    "support": "rows",
    "coverage": "covers",
    "precision": "precision",
    "interval": "95 % interval",
    "lift": "lift",
    "luck": "by luck",
    "unique": "alone",
    "cumulative": "so far",
    "shadowed": "shadowed",
    "valid_precision": "unseen rows",
    "gap": "gap",
    "source": "source",
}
PAIR_COLUMNS = {"first": "rule", "second": "and", "rows": "rows", "jaccard": "overlap", "is_conflict": "conflict"}
MONOTONE_COLUMNS = {"column": "column", "direction": "direction", "is_proven": "proven", "reason": "reason"}
FRONT_COLUMNS = {"member": "member", "error": "error", "bytes": "bytes", "rules": "rules", "conditions": "comparisons"}
SHARES = {"coverage", "precision", "unique", "cumulative", "shadowed", "valid_precision", "gap", "jaccard"}


def report_of(
    engine: RuleSet,
    rows: Rows,
    *,
    valid: Rows | None = None,
    monotone: Mapping[str, int] | None = None,
    stability: Stability | None = None,
    front: Sequence[Mapping[str, Any]] = (),
    sizes: Mapping[str, int] | None = None,
    example: int = 0,
) -> Report:
    """Make the report of a rule model.

    Args:
        engine: The rules.
        rows: Rows that they learned from.
        valid: Rows that they did not learn from; calibration and errors are told on these where there are any.
        monotone: Directions to certify, by column.
        stability: As from `rules.report_stability.stability`.
        front: Models beside this one: `member`, `error`, `bytes`, `rules`, `conditions`.
        sizes: Bytes of each format in which the rules were written.
        example: Number of the row that is worked out.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> from rules.outputs import Points
        >>> from rules.rule import Rule
        >>> rule = Rule("old", Condition((Numbers("age", low=60),)), Points((2.0,)))
        >>> engine = RuleSet((rule,), "sum", Points((-1.0,)), ("no", "yes"), ("age",))
        >>> rows = Rows(np.array([1, 0, 0]), x=np.array([[70], [65], [30]], np.float32))
        >>> made = report_of(engine, rows)
        >>> made.content["rules"][0]["precision"], made.content["example"]["counterfactual"]["text"]
        (0.5, 'yes becomes no: age 70.0 -> 59.999996')
    """
    told = rows if valid is None else valid
    entries = []
    for measures in measured(engine, rows, valid):
        entry = measures.to_json()
        if measures.low is not None and measures.high is not None:
            entry["interval"] = f"{share_text(measures.low)} to {share_text(measures.high)}"
        entries.append(entry)
    figures = _figures(engine, told, entries, sizes or {})
    content = {
        "rules": entries,
        "pairs": [pair.to_json() for pair in pairs(engine, rows.inputs())],
        "model": {"words": _words(engine, entries), "figures": figures, "findings": _findings(engine)},
        "calibration": calibration_bins(engine, told),
        "stability": None if stability is None else {**stability.to_json(), "figures": _stable(stability)},
        "monotone": [certified(engine, column, way).to_json() for column, way in (monotone or {}).items()],
        "example": _example(engine, rows, example),
        "front": [dict(entry) for entry in front],
        "ruleset": engine.to_json(),
    }
    return Report(content)


def write_report(report: Report, folder: Path, *, title: str) -> None:
    """Write `rules_report.json` and `rules_report.html` to a folder."""
    (folder / "rules_report.json").write_text(report.to_json(), encoding="utf-8")
    (folder / "rules_report.html").write_text(report.to_html(title=title), encoding="utf-8")


def _words(engine: RuleSet, entries: Sequence[Mapping[str, Any]]) -> str:
    kinds = {
        "sum": "rules whose points are added up",
        "first": "rules of which the first that applies decides",
        "unique": "rules of which exactly one applies",
        "vote": "rules that vote",
    }
    named = sum(int(entry["comparisons"]) for entry in entries)
    count = len(engine.rules)
    return f"{count} {kinds[engine.policy]}, with {named} comparisons in all."


def _findings(engine: RuleSet) -> list[str]:
    """Return what is amiss with rules, whatever the rows."""
    found = [f"Rule {name} can never apply: its condition contradicts itself." for name in contradictions(engine.rules)]
    found += [
        f"Rule {shadow.rule} never decides: {', '.join(shadow.by)} take all its rows." for shadow in shadows(engine)
    ]
    return found


def _figures(
    engine: RuleSet, told: Rows, entries: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Return what is told of the whole model, in words, by name."""
    values, held = engine.values(told.inputs()), engine.matches(told.inputs())
    figures: dict[str, Any] = {
        "rules": len(entries),
        "comparisons": sum(int(entry["comparisons"]) for entry in entries),
        "columns": len({atom.column for rule in engine.rules for atom in rule.condition.atoms}),
        "rows": len(told),
        "rules that apply to a row, on average": round(float(held.sum(axis=1).mean()), 2),
        "rows to which no rule applies": share_text(float((~held.any(axis=1)).mean()) if held.size else 1.0),
    }
    y = np.asarray(told.y)
    if engine.classes:
        decisions = engine.decisions(told.inputs())
        is_answered = decisions >= 0
        figures["error"] = share_text(float((values.argmax(axis=1) != y).mean()))
        if not is_answered.all():
            figures["rows without an answer"] = share_text(float((~is_answered).mean()))
        figures["log loss"] = round(float(-np.log(np.clip(values[np.arange(len(y)), y], 1e-7, 1)).mean()), 4)
        if len(engine.classes) == 2 and 0 < y.mean() < 1:
            from sklearn.metrics import roc_auc_score

            figures["AUC"] = round(float(roc_auc_score(y, values[:, 1])), 4)
    else:
        figures["root mean square error"] = float(f"{np.sqrt(((values[:, 0] - y) ** 2).mean()):.5g}")
        figures["spread of the target"] = float(f"{y.std():.5g}")
    figures |= {f"bytes as {name}": size for name, size in sizes.items()}
    return figures


def _stable(stability: Stability) -> dict[str, Any]:
    return {
        "bootstrap samples": stability.repeats,
        "rules in common (Dice)": share_text(stability.dice),
        "rows with the same answer": share_text(stability.agreement),
        **{f"{name} comes back in": share_text(share) for name, share in stability.returns.items()},
    }


def _example(engine: RuleSet, rows: Rows, number: int) -> dict[str, Any]:
    """Work out one row, and what would change its answer."""
    row = {name: np.asarray(column[number : number + 1]) for name, column in rows.inputs().items()}
    told = explained(engine, row)[0]
    spreads = {}
    if rows.x is not None:
        spreads = {
            name: float(np.nanstd(rows.x[:, place])) or 1.0
            for place, name in enumerate(engine.numeric_columns)
            if not np.isnan(rows.x[:, place]).all()
        }
    change = counterfactual(engine, row, spreads=spreads)
    values = {name: _plain(row[source][0, place]) for name, (source, place) in engine.columns.items()}
    return {
        "row": values,
        "text": str(told),
        "explanation": told.to_json(),
        "counterfactual": None if change is None else {**change.to_json(), "text": str(change)},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return None if np.isnan(value) else float(value)


def _table(entries: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    heads = "".join(f"<th><button>{html.escape(title)}</button></th>" for title in columns.values())
    lines = []
    for entry in entries:
        cells = [_cell(name, entry.get(name)) for name in columns]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<div class="scroll"><table class="sortable">{head}\n<tbody>{body}</tbody></table></div>'


def _cell(name: str, value: Any) -> str:
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = share_text(value) if name in SHARES else f"{value:.3g}"
    else:
        text = str(value)
    kind = ' class="text wrap"' if isinstance(value, str) else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def _facts(figures: Mapping[str, Any]) -> str:
    told = "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>" for name, value in figures.items()
    )
    return f"<dl>{told}</dl>"
