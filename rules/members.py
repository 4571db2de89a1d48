"""What is written beside every file of a finished front: its rules in formats that people read, and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.data import Rows, concatenate
from engine.launch import Run
from engine.load import Loaded
from rules.exports.write import FORMS, export
from rules.family import bytes_name
from rules.generators.constraints import Constraints
from rules.generators.space import genes_of
from rules.report import report_of, write_report
from rules.report_stability import stability
from rules.ruleset import RuleSet

__all__ = ["write_members"]

FORMS_BESIDE = ("json", "text", "sql", "python")
REPEATS = 5
STABLE_ROWS = 5_000


def write_members(
    run: Run, loaded: Loaded, constraints: Constraints, *, bytes_of: str = "onnx", tell: Callable[[str], None]
) -> None:
    """Write the rules, as JSON, text, SQL and Python, and their report into the folder of every member of a front.

    Args:
        run: A finished search of rule models.
        loaded: Its data; what a rule does is told on the rows that it learned from, errors on rows that it did not see:
            test rows if there are any.
        constraints: The user's.
        bytes_of: The form whose length was the second axis; it is written too.
        tell: Takes a line when a member is done.
    """
    data = loaded.dataset
    train, valid = data.train(-1), data.valid(-1)
    everything = concatenate([train, valid])
    cards = [dict(member.artifact.card) for member in run.members]
    front = [_line(number, card, bytes_of) for number, card in enumerate(cards)]
    for number, card in enumerate(cards):
        folder = run.folder / "front" / f"{number:02d}"
        engine = RuleSet.from_json(card["ruleset"])
        sizes = {"onnx": int(card["bytes"]), **_write_forms(engine, folder, everything, bytes_of)}
        is_refit = bool(card.get("finished") and card.get("refit"))
        rows, unseen = (everything, None) if is_refit else (train, valid)
        if loaded.test is not None and len(loaded.test):
            unseen = loaded.test
        stable = None
        if len(rows) <= STABLE_ROWS:
            genes = genes_of(run.members[number].point.candidate)
            stable = stability(engine, rows, data.signature, genes, constraints, repeats=REPEATS)
        report = report_of(
            engine,
            rows,
            valid=unseen,
            monotone=constraints.monotone,
            stability=stable,
            front=front,
            sizes=sizes,
        )
        write_report(report, folder, title=f"{run.folder.resolve().name}, member {number:02d}")
        tell(f"rules and report {number + 1}/{len(cards)}")


def _line(number: int, card: dict[str, Any], bytes_of: str) -> dict[str, Any]:
    error = float(card["validation"]["error"])
    told = {"member": number, "error": error, "bytes": card["bytes"], "rules": card["rules"]}
    return told | {"conditions": card["conditions"], bytes_name(bytes_of): card[bytes_name(bytes_of)]}


def _write_forms(engine: RuleSet, folder: Path, rows: Rows, bytes_of: str) -> dict[str, int]:
    """Write the rules in every form beside ONNX, each proven; return the bytes of each."""
    sizes = {}
    for form in dict.fromkeys((*FORMS_BESIDE, bytes_of)):
        if form != "onnx":
            path = folder / f"rules{FORMS[form]}"
            export(engine, path, rows.inputs())
            sizes[form] = path.stat().st_size
    return sizes
