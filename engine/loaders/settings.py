"""What a user may say about the data, and which of it goes together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

from engine.errors import DataError, did_you_mean

__all__ = ["IN_MEMORY", "ROW_NUMBER", "SOURCES", "DataSettings", "check"]

ROW_NUMBER = "row_number"  # as data.time: the rows of a file are in the order of time already

_FETCHED = ("version", "cache")
_EMBEDDED = ("path", "test_path", "valid_path", "target", *_FETCHED)
_COLUMNS = ("group", "time", "weight", "drop", "id", "forbid", "protect", "types", "missing_codes")

# Which shapes of data a source can be read as, and which options say nothing about it.
SOURCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "digits": (("images", "table"), _EMBEDDED + _COLUMNS),
    "iris": (("table",), _EMBEDDED),
    "wine": (("table",), _EMBEDDED),
    "breast_cancer": (("table",), _EMBEDDED),
    "diabetes": (("table",), _EMBEDDED),
    "npz": (("images", "signals", "table"), _FETCHED),
    "images": (("images",), ("target", *_COLUMNS, *_FETCHED)),
    "csv": (("table",), _FETCHED),
    "parquet": (("table",), _FETCHED),
    "jsonl": (("table",), _FETCHED),
    "openml": (("table",), ("test_path", "valid_path")),
}
IN_MEMORY = "frame"  # a table given in Python, of which no command line can speak


@final
@dataclass(frozen=True)
class DataSettings:
    """Where the rows come from and how they are divided.

    Args:
        name: One of `SOURCES`; `frame` for a table given in Python.
        path: File or folder; of OpenML the name or number of a data set.
        target: Target column of a table; array of an npz file (`y` if not given).
        version: Of a data set of OpenML that is given by name; by default the oldest active one.
        cache: Folder in which data sets of OpenML are kept; by default that of scikit-learn.
        kind: How to read the source, where it can be read in several ways.
        task: Overrules what the target's values suggest.
        test_path: Test rows of their own; nothing is taken from `path` then.
        valid_path: Validation rows of their own.
        group: Column of which no value stands in two splits; not an input.
        time: Column that orders the rows from past to future; not an input. `row_number` for the order of the file.
        weight: Column with the weight of each row; not an input.
        drop: Columns to remove.
        id: Columns that name rows; never inputs.
        forbid: Columns that must not be inputs; the card tells them.
        protect: Columns that are never inputs, and by whose values finished files are judged group by group.
        types: What columns are, by name, where the values suggest something else: `number`, `category`, `boolean`,
            `date`, or `date:%d.%m.%Y`.
        missing_codes: Values that stand for missing, in all columns or by name of the column.
        test_share: Share of all rows, in [0, 1); 0 keeps no test rows.
        valid_share: Share of the rows that are not test rows, in (0, 1).
        folds: None for 5 on tables below 10,000 rows without `time`, otherwise one train/valid pair.
        max_rows: Use so many rows of `path` at most, drawn at random; rows with a split of their own are all used.
    """

    name: str = "digits"
    path: str | None = None
    target: str | None = None
    version: int | None = None
    cache: str | None = None
    kind: Literal["images", "signals", "table"] | None = None
    task: Literal["classification", "regression"] | None = None
    test_path: str | None = None
    valid_path: str | None = None
    group: str | None = None
    time: str | None = None
    weight: str | None = None
    drop: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    forbid: list[str] = field(default_factory=list)
    protect: list[str] = field(default_factory=list)
    types: dict[str, str] | None = None
    missing_codes: list[float | str] | dict[str, list[float | str]] | None = None
    test_share: float = 0.3
    valid_share: float = 0.2
    folds: int | None = None
    max_rows: int | None = None


def check(settings: DataSettings) -> None:
    """Refuse settings that contradict themselves or say nothing about their source.

    Raises:
        DataError: With every problem.
    """
    if settings.name not in SOURCES and settings.name != IN_MEMORY:
        hint = did_you_mean(settings.name, SOURCES)
        raise DataError(f"No data '{settings.name}'{hint} Data: {', '.join(sorted(SOURCES))}.")
    problems = [*_source_problems(settings), *_split_problems(settings)]
    if problems:
        raise DataError("\n".join(problems))


def _source_problems(settings: DataSettings) -> list[str]:
    name, (kinds, senseless) = settings.name, SOURCES.get(settings.name, (("table",), _EMBEDDED))
    problems = [
        f"data.{option} says nothing about data={name}: remove it."
        for option in senseless
        if getattr(settings, option) not in (None, [], ())
    ]
    if "path" not in senseless and not settings.path:
        wanted = {"images": "folder", "openml": "name or number"}.get(name, "file")
        problems.append(f"data={name} needs data.path: add data.path=<{wanted}>.")
    if name in ("csv", "parquet", "jsonl") and not settings.target:
        problems.append(f"data={name} needs data.target: add data.target=<column>.")
    if settings.kind is not None and settings.kind not in kinds:
        problems.append(f"data={name} can be read as {' or '.join(kinds)}, got data.kind={settings.kind}.")
    return problems


def _split_problems(settings: DataSettings) -> list[str]:
    problems = []
    if not 0 <= settings.test_share < 1:
        problems.append(f"data.test_share must lie in [0, 1), got {settings.test_share}; 0 keeps no test rows.")
    if not 0 < settings.valid_share < 1:
        problems.append(f"data.valid_share must lie in (0, 1), got {settings.valid_share}.")
    if settings.folds is not None and settings.folds < 2:
        problems.append(f"data.folds must be at least 2, got {settings.folds}; leave it out for one train/valid pair.")
    if settings.folds is not None and settings.valid_path:
        problems.append("data.folds and data.valid_path exclude each other: remove one.")
    if settings.group and settings.time:
        problems.append("data.group and data.time exclude each other: remove one.")
    if settings.max_rows is not None and settings.max_rows < 10:
        problems.append(f"data.max_rows must be at least 10, got {settings.max_rows}.")
    return problems
