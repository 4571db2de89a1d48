"""Writing a rule set in any of its forms: proven first, then written whole or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import yaml

from engine.errors import ArtifactError, SettingsError, did_you_mean
from rules.exports.from_text import from_text
from rules.exports.run_sql import run_in_duckdb, run_in_sqlite
from rules.exports.to_python import run_python, to_python
from rules.exports.to_sql import to_sql
from rules.exports.to_text import to_text
from rules.proof import Answers, Proof, proof_rows, prove
from rules.ruleset import RuleSet

__all__ = ["FORMS", "Sql", "content_of", "export", "form_of", "proven"]

FORMS = {"onnx": ".onnx", "sql": ".sql", "python": ".py", "json": ".json", "yaml": ".yaml", "text": ".txt"}


@final
@dataclass(frozen=True)
class Sql:
    """How to write a query.

    Args:
        dialect: As sqlglot names it.
        table: Name of the table.
        probabilities: Whether to return the probabilities too.
    """

    dialect: str = "duckdb"
    table: str = "data"
    probabilities: bool = True


def form_of(path: Path) -> str:
    """Return the form that the ending of a path names.

    Raises:
        SettingsError: If there is none.
    """
    known = {ending: form for form, ending in FORMS.items()} | {".yml": "yaml"}
    if path.suffix.lower() in known:
        return known[path.suffix.lower()]
    raise SettingsError(f"The ending of {path.name} must name a form of rules: {', '.join(known)}.")


def export(
    engine: RuleSet,
    path: Path,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    form: str | None = None,
    sql: Sql | None = None,
    seed: int = 0,
) -> Proof:
    """Write a rule set to a file, once the written form is proven to answer as the rules do.

    Args:
        engine: The rules.
        path: Its ending names the form unless `form` does.
        inputs: Rows to prove it on, best all training rows; corners of boxes and random rows are always added.
        form: One of `FORMS`.
        sql: How to write a query.
        seed: Of the random rows.

    Returns:
        What was compared.

    Raises:
        ArtifactError: If any row is answered otherwise, and nothing is written then; or if there is no such folder.
        SettingsError: If there is no such form or dialect.

    Example:
        >>> from tempfile import mkdtemp
        >>> from rules.atoms import Condition, Numbers
        >>> from rules.outputs import Label
        >>> from rules.rule import Rule
        >>> old = Rule("old", Condition((Numbers("age", low=60),)), Label("yes"))
        >>> engine = RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",))
        >>> export(engine, Path(mkdtemp()) / "old.onnx").difference
        0.0
    """
    content, proof = proven(engine, form or form_of(path), inputs, sql=sql, seed=seed)
    waiting = path.with_name(f".{path.name}.part")
    try:
        waiting.write_bytes(content)
        os.replace(waiting, path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written ({error.strerror}); name a folder that exists.") from error
    return proof


def proven(
    engine: RuleSet,
    form: str,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    sql: Sql | None = None,
    seed: int = 0,
) -> tuple[bytes, Proof]:
    """Return a form of a rule set, and the proof that it answers as the rules do; arguments as for `export`."""
    if form not in FORMS:
        raise SettingsError(f"to must be one of {', '.join(FORMS)}, got '{form}'{did_you_mean(form, FORMS)}")
    if not engine.columns:
        raise ArtifactError("A rule set needs a column to be exported: without one it answers every row alike.")
    content, said = _made(engine, form, sql or Sql())
    return content, prove(engine, said, proof_rows(engine, inputs, seed=seed), form=form)


def content_of(engine: RuleSet, form: str) -> bytes:
    """Return what `export` writes as a form, which is not proven yet.

    Example:
        >>> from rules.outputs import Abstain
        >>> content_of(RuleSet((), "first", Abstain(), ("no", "yes"), ("age",)), "text").splitlines()[0]
        b'The classes are "no", "yes".'
    """
    return _made(engine, form, Sql())[0]


Said = Callable[[Mapping[str, np.ndarray]], Answers]


def _made(engine: RuleSet, form: str, sql: Sql) -> tuple[bytes, Said]:
    """Return what is written, and what it answers when it is run or read back."""
    if form == "onnx":
        return _onnx(engine)
    if form == "sql":
        return _sql(engine, sql)
    if form == "python":
        source = to_python(engine)
        return source.encode(), lambda rows: run_python(engine, source, rows)
    if form == "text":
        text = to_text(engine)
        return text.encode(), lambda rows: _answers(
            from_text(text, engine.numeric_columns, engine.categorical_columns), rows
        )
    if form == "json":
        text = json.dumps(engine.to_json(), ensure_ascii=False, indent=1) + "\n"
        return text.encode(), lambda rows: _answers(RuleSet.from_json(json.loads(text)), rows)
    text = yaml.safe_dump(engine.to_json(), sort_keys=False, allow_unicode=True)
    return text.encode(), lambda rows: _answers(RuleSet.from_json(yaml.safe_load(text)), rows)


def _onnx(engine: RuleSet) -> tuple[bytes, Said]:
    from engine.artifact import session
    from rules.exports.to_onnx import DECISION, to_onnx

    model = to_onnx(engine)

    def said(rows: Mapping[str, np.ndarray]) -> Answers:
        opened = session(model)
        names = [output.name for output in opened.get_outputs()]
        inputs = {name: array.astype(object) if name == "c" else array for name, array in rows.items()}
        found = dict(zip(names, opened.run(None, inputs), strict=True))
        if not engine.classes:
            return Answers(found["y"], None)
        return Answers(found["y"], found[DECISION][:, 0] if DECISION in found else found["y"].argmax(axis=1))

    return model, said


def _sql(engine: RuleSet, sql: Sql) -> tuple[bytes, Said]:
    """Return a query, proven where it runs; one of a dialect of which no database is at hand, as sqlglot reads it."""
    query = to_sql(engine, dialect=sql.dialect, table=sql.table, probabilities=sql.probabilities)
    tried = to_sql(engine, dialect=sql.dialect, probabilities=sql.probabilities)
    has_duckdb = importlib.util.find_spec("duckdb") is not None
    runs_in = "duckdb" if has_duckdb and sql.dialect != "sqlite" else "sqlite"
    if sql.dialect != runs_in:
        import sqlglot

        tried = sqlglot.transpile(tried, read=sql.dialect, write=runs_in)[0]
    run = run_in_duckdb if runs_in == "duckdb" else run_in_sqlite
    return query.encode(), lambda rows: run(engine, tried, rows)


def _answers(read: RuleSet, rows: Mapping[str, np.ndarray]) -> Answers:
    return Answers(read.values(rows), read.decisions(rows) if read.classes else None)
