"""Write rules as a file for other systems, proven to answer as the rules do.

    python -m rules.export model=mine.yaml data=csv data.path=d.csv data.target=y out=mine.onnx

model    rules of your own (YAML, docs/rules.md), or a rule set that was written as .json or .yaml before
out      the file to write; its ending names the form: .onnx, .sql, .py, .json, .yaml, .txt
to       onnx, sql, python, json, yaml or text, where the ending does not say it
data     where rows are, as in `rules.search`: csv, parquet, iris, ...; data.path, data.target, ...
         Rules are validated against them, and the file is proven on all of them but test rows. Without data the file of
         rules declares its `columns` and `classes` itself.
dialect  for sql: as sqlglot names it (duckdb)
table    for sql: name of the table, with its schema if it needs one, such as public.data (data)
probabilities  for sql: false for the answer alone, which is shorter (true)
seed     of the split, and of the random rows of the proof (0)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import yaml

from engine.command import settings_command
from engine.errors import ArtifactError, SettingsError
from engine.loaders.settings import DataSettings

if TYPE_CHECKING:
    from rules.ruleset import RuleSet

__all__ = ["ExportSettings", "main", "read_model", "run"]


@final
@dataclass(frozen=True)
class ExportSettings:
    """What the command takes; the module's text describes each key."""

    model: str
    out: str
    to: str | None = None
    data: DataSettings | None = None
    dialect: str = "duckdb"
    table: str = "data"
    probabilities: bool = True
    seed: int = 0


def run(settings: ExportSettings) -> str:
    """Write the file, and return what was proven of it, in words.

    Raises:
        EngineError: If rules, data or form cannot be used, or the file would answer otherwise.
    """
    from engine.load import load
    from rules.exports.write import FORMS, Sql, export, form_of
    from rules.generators.binned import comparisons

    out = Path(settings.out)
    if out.resolve() == Path(settings.model).resolve():
        raise SettingsError(f"out must not be the file that is read, got {out} for both.")
    form = settings.to or form_of(out)
    sql = Sql(settings.dialect, settings.table, settings.probabilities)
    if form in FORMS and form != "sql" and sql != Sql():
        raise SettingsError(f"dialect, table and probabilities are about SQL, but {out} will be {form}: remove them.")
    loaded = load(settings.data, seed=settings.seed) if settings.data else None
    rows = loaded.dataset.rows if loaded else None
    engine = read_model(Path(settings.model), None if loaded is None else loaded.dataset)
    proof = export(engine, out, rows.inputs() if rows else None, form=form, sql=sql, seed=settings.seed)
    conditions = sum(comparisons(atom) for rule in engine.rules for atom in rule.condition.atoms)
    compared = "classes only" if proof.difference is None else f"largest difference {proof.difference:.1g}"
    return (
        f"{out}: {len(engine.rules)} rules, {conditions} conditions, {out.stat().st_size:,} B as {form}. "
        f"Proven on {proof.rows:,} rows ({0 if rows is None else len(rows):,} of the data): same answers, {compared}."
    )


def read_model(path: Path, data: Any = None) -> RuleSet:
    """Return a rule set: a written one, or that of a person's rules alone.

    Args:
        path: `.json` or `.yaml`.
        data: Data set that the rules are about, or None.

    Raises:
        ArtifactError: If a written rule set is not what the JSON Schema asks for, or not about the data.
        SettingsError: With everything that is amiss in a file of rules.
    """
    from rules.language.read import declared_table, read_rules
    from rules.language.table import Table
    from rules.ruleset import RuleSet

    written = _written(path)
    if written is None:
        table = declared_table(path) if data is None else Table.of(data.signature, data.rows)
        return read_rules(path, table, is_whole=True).engine(table)
    engine = RuleSet.from_json(written)
    if data is not None:
        has = (data.signature.numeric_columns, data.signature.categorical_columns)
        if has != (engine.numeric_columns, engine.categorical_columns):
            raise ArtifactError(f"The data must have the columns of {path.name} in order: {', '.join(engine.columns)}.")
    return engine


def _written(path: Path) -> Mapping[str, Any] | None:
    """Return the rule set that a file holds in its own form; None for anything else: a person's rules."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        if path.suffix.lower() == ".json":
            raise ArtifactError(f"{path} must be a rule set in JSON: {error}.") from error
        return None
    is_written = path.suffix.lower() == ".json" or (isinstance(found, dict) and "version" in found)
    return found if is_written else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    spelled = [f"data.name={text.removeprefix('data=')}" if text.startswith("data=") else text for text in given]
    return settings_command(ExportSettings, run, usage=__doc__ or "", arguments=spelled)


if __name__ == "__main__":
    sys.exit(main())
