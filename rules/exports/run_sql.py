"""Running an exported query where it is meant to run: in SQLite, which comes with Python, and in DuckDB."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import ArtifactError, MissingExtraError
from rules.exports.names_sql import dialect_of
from rules.exports.to_sql import ANSWER, probability_name
from rules.proof import Answers
from rules.ruleset import RuleSet

__all__ = ["run_in_duckdb", "run_in_sqlite"]

TABLE = "data"


def run_in_sqlite(engine: RuleSet, query: str, rows: Mapping[str, np.ndarray]) -> Answers:
    """Put rows into a table `data` of a database in memory, and return what a query says of them.

    Raises:
        ArtifactError: If SQLite refuses the query.
    """
    dialect = dialect_of("sqlite")
    kinds = {"x": "REAL", "c": "TEXT"}
    listed = ",".join(f"{dialect.quoted(name)} {kinds[kind]}" for name, (kind, _) in engine.columns.items())
    records = _records(engine, rows)
    with sqlite3.connect(":memory:") as base:
        try:
            base.execute(f"CREATE TABLE {TABLE} ({listed})")
            base.executemany(f"INSERT INTO {TABLE} VALUES ({','.join('?' * len(engine.columns))})", records)
            cursor = base.execute(query)
        except sqlite3.Error as error:
            raise ArtifactError(f"SQLite cannot run the query: {error}.") from error
        answers = _answers(engine, [entry[0] for entry in cursor.description], cursor.fetchall())
    base.close()
    return answers


def run_in_duckdb(engine: RuleSet, query: str, rows: Mapping[str, np.ndarray]) -> Answers:
    """Put rows into a table `data` of a database in memory, numbers as float32, and return what a query says of them.

    Raises:
        ArtifactError: If DuckDB refuses the query.
        MissingExtraError: If DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("Proving SQL for DuckDB needs the package duckdb: pip install duckdb.") from error
    dialect = dialect_of("duckdb")
    kinds = {"x": "FLOAT", "c": "VARCHAR"}
    listed = ",".join(f"{dialect.quoted(name)} {kinds[kind]}" for name, (kind, _) in engine.columns.items())
    with duckdb.connect(":memory:") as base:
        try:
            base.execute("SET threads = 1")
            base.execute(f"CREATE TABLE {TABLE} ({listed})")
            _fill(base, engine, rows)
            cursor = base.execute(query)
        except duckdb.Error as error:
            raise ArtifactError(f"DuckDB cannot run the query: {error}") from error
        return _answers(engine, [entry[0] for entry in cursor.description], cursor.fetchall())


def _fill(base: Any, engine: RuleSet, rows: Mapping[str, np.ndarray]) -> None:
    import pandas as pd

    frame = pd.DataFrame({str(place): column for place, column in enumerate(zip(*_records(engine, rows), strict=True))})
    base.register("given", frame)
    base.execute(f"INSERT INTO {TABLE} SELECT * FROM given")


def _records(engine: RuleSet, rows: Mapping[str, np.ndarray]) -> list[tuple[float | str | None, ...]]:
    """Return rows as databases take them, None for missing."""
    columns: list[Sequence[float | str | None]] = []
    for kind, place in engine.columns.values():
        values = rows[kind][:, place].tolist()
        is_number = kind == "x"
        columns.append([None if (math.isnan(value) if is_number else value == "") else value for value in values])
    return list(zip(*columns, strict=True))


def _answers(engine: RuleSet, names: Sequence[str], records: Sequence[Sequence[Any]]) -> Answers:
    columns = dict(zip(names, zip(*records, strict=True), strict=True))
    if not engine.classes:
        return Answers(np.array(columns[ANSWER], float)[:, None], None)
    number_of = {name: number for number, name in enumerate(engine.classes)} | {None: -1}
    decisions = np.array([number_of[name] for name in columns[ANSWER]])
    wanted = [probability_name(name) for name in engine.classes]
    if wanted[0] not in columns:
        return Answers(None, decisions)
    return Answers(np.array([columns[name] for name in wanted], float).T, decisions)
