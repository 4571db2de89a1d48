"""The JSON Schema of rule sets: what `RuleSet.to_json` writes and `RuleSet.from_json` takes."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMA", "VERSION", "schema_problems"]

VERSION = 1

_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf"]}]}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _record(needed: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object with these keys and no others."""
    known = needed | (optional or {})
    return {"type": "object", "properties": known, "required": sorted(needed), "additionalProperties": False}


_NAME = {"type": "string", "minLength": 1}
_TESTS = {
    ">": _NUMBER,
    ">=": _NUMBER,
    "<": _NUMBER,
    "<=": _NUMBER,
    "in": _TEXTS,
    "not_in": _TEXTS,
    "missing": {"type": "boolean"},
}
_ATOM = _record({"column": {"type": "string"}}, _TESTS) | {
    "minProperties": 2,
    "not": {"anyOf": [{"required": pair} for pair in ([">", ">="], ["<", "<="], ["in", "not_in"])]},
}
_OUTPUT = {
    "oneOf": [
        _record({"class": {"type": "string"}}),
        _record({"probability": _NUMBERS}),
        _record({"points": _NUMBERS}),
        _record({"abstain": {"const": True}}),
    ]
}
_RULE = _record(
    {"id": _NAME, "if": {"type": "array", "items": _ATOM}, "then": _OUTPUT},
    {
        "weight": {"type": "number", "exclusiveMinimum": 0},
        "source": {"enum": ["user", "learned"]},
        "stage": {"enum": ["before", "model", "after"]},
    },
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Rule set",
    **_record(
        {
            "version": {"const": VERSION},
            "policy": {"enum": ["first", "sum", "vote", "unique"]},
            "rules": {"type": "array", "items": _RULE},
            "default": _OUTPUT,
        },
        {
            "classes": _TEXTS,
            "numeric_columns": _TEXTS,
            "categorical_columns": _TEXTS,
            "abstain": _record({"low": _SHARE, "high": _SHARE}, {"class": _NAME}),
            "calibration": _record({"edges": _NUMBERS, "probabilities": {"type": "array", "items": _SHARE}}),
        },
    ),
}


def schema_problems(entry: Any) -> list[str]:
    """Return what the schema refuses, a sentence each, with the place in the document."""
    import jsonschema  # type: ignore[import-untyped]

    checker = jsonschema.Draft202012Validator(SCHEMA)
    errors = sorted(checker.iter_errors(entry), key=lambda error: list(map(str, error.absolute_path)))
    return [f"{_place(error.absolute_path)}: {error.message}." for error in errors]


def _place(path: Any) -> str:
    made = "The rule set"
    for step in path:
        made += f"[{step}]" if isinstance(step, int) else f".{step}"
    return made
