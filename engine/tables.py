"""The front of a finished run: read from its folder, shown as a table, written as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.errors import RecordError
from engine.metrics import metric_called
from engine.trial import Trial

__all__ = [
    "Card",
    "bytes_text",
    "error_number",
    "error_text",
    "error_unit",
    "front_table",
    "is_share",
    "print_table",
    "read_cards",
    "read_settings",
    "read_trials",
    "size_name",
    "size_of",
    "size_text",
    "size_words",
    "write_front_csv",
]

Card = Mapping[str, Any]

PIPED_WIDTH = 160
LONGEST_UNIT = 9  # that fits above a column of errors
COLUMNS = (
    *("member", "error", "low", "high", "test_error", "test_low", "test_high"),
    *("bytes", "parameters", "coding", "latency_us", "key"),
)


def is_share(metric: str) -> bool:
    """Say whether the error of a metric is a share of one, shown in percent."""
    known = metric_called(metric)
    return known is not None and known.is_share


def error_number(value: float | None, metric: str) -> str:
    """Return an error as a bare number: in percent where it is a share, `-` where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{100 * value:.2f}" if is_share(metric) else f"{value:.4g}"


def error_text(value: float | None, metric: str) -> str:
    """Return an error with its unit.

    Example:
        >>> error_text(0.0312, "accuracy"), error_text(0.52, "log_loss"), error_text(0.4, "mcc")
        ('3.12 %', '0.52 log_loss', '0.4 (1 - mcc)')
    """
    number = error_number(value, metric)
    return number if number == "-" else f"{number} {error_unit(metric)}"


def error_unit(metric: str) -> str:
    """Return what the error of a metric is counted in: `%`, or its own name."""
    known = metric_called(metric)
    unit = metric if known is None else known.unit
    return f"({unit})" if " " in unit else unit


def bytes_text(value: float) -> str:
    """Return a size with thousands separated.

    Example:
        >>> bytes_text(4989)
        '4,989 B'
    """
    return f"{value:,.0f} B"


def size_name(cards: Sequence[Card]) -> str:
    """Return the name of the size that a front counts: `bytes` of the files, or what their cards name as `counted`."""
    return str(cards[0].get("counted", "bytes")) if cards else "bytes"


def size_of(card: Card) -> int:
    """Return the size that the front of a card counts.

    Example:
        >>> size_of({"bytes": 421}), size_of({"bytes": 421, "sql_bytes": 218, "counted": "sql_bytes"})
        (421, 218)
    """
    return int(card[card.get("counted", "bytes")])


def size_text(card: Card) -> str:
    """Return that size in words.

    Example:
        >>> size_text({"bytes": 421, "sql_bytes": 218, "counted": "sql_bytes"})
        '218 B of sql'
    """
    return size_words(size_of(card), size_name([card]))


def size_words(value: float, name: str) -> str:
    """Return a size in words: bytes of a file, or of a form whose name begins that of the size.

    Example:
        >>> size_words(421, "bytes"), size_words(218, "sql_bytes")
        ('421 B', '218 B of sql')
    """
    form = name.removesuffix("bytes").strip("_")
    return bytes_text(value) + (f" of {form}" if form else "")


def front_table(cards: Sequence[Card]) -> Table:
    """Make the table of a front, in order of validation error.

    At 80 columns nothing wraps: a long coding ends in an ellipsis.

    Args:
        cards: The cards of the finished members.
    """
    metric = str(cards[0].get("metric", "accuracy")) if cards else "accuracy"
    unit = error_unit(metric)
    error_name = f"err {unit}" if is_share(metric) else unit if len(unit) <= LONGEST_UNIT else "err"
    counted = size_name(cards)
    sizes = dict.fromkeys((counted, "bytes"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for name in ("#", f"valid {error_name}", f"test {error_name}", "95 % of test", *sizes, "params"):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    table.add_column("coding")  # only a column that may wrap gives room away; its cells then do not wrap
    table.add_column("us/row", justify="right", no_wrap=True)
    for place, card in enumerate(sorted(cards, key=lambda c: float(c["validation"]["error"]))):
        test = card.get("test") or {}
        table.add_row(
            f"{card.get('member', place):02d}",
            error_number(card["validation"]["error"], metric),
            error_number(test.get("error"), metric),
            _interval(test, metric),
            *[f"{card[name]:,}" for name in sizes],
            _count(card.get("parameters")),
            Text(str(card.get("coding") or "-"), no_wrap=True, overflow="ellipsis"),
            _latency(card.get("latency_us")),
        )
    return table


def print_table(table: Table, stream: TextIO | None = None) -> None:
    """Print a table: in a terminal as wide as that, into a pipe or a file as wide as it needs, without colours."""
    stream = stream or sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else PIPED_WIDTH
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None, highlight=False).print(table)
    # The padding on the right would wrap in a narrower window.
    lines = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write((lines + "\n").encode(encoding, "replace").decode(encoding))
    stream.flush()


def write_front_csv(path: Path | str, cards: Iterable[Card]) -> None:
    """Write `front.csv`: one line a member, errors as shares, empty where nothing was measured."""
    cards = list(cards)
    names = dict.fromkeys((*COLUMNS, size_name(cards)))
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        for place, card in enumerate(cards):
            valid, test = card["validation"], card.get("test") or {}
            errors = [valid["error"], valid.get("low"), valid.get("high")]
            errors += [test.get("error"), test.get("low"), test.get("high")]
            rest = [card.get(name) for name in list(names)[7:]]
            writer.writerow(["" if v is None else v for v in (card.get("member", place), *errors, *rest)])


def read_cards(run_folder: Path | str) -> list[Card]:
    """Read the cards of a finished run, most accurate first; each gets its number as `member`.

    Raises:
        RecordError: If the folder is missing, is no run, has no finished front, or holds a broken card.
    """
    folder = _run_folder(run_folder)
    paths = sorted((folder / "front").glob("*/card.json"))
    if not paths:
        raise RecordError(f"{folder} has no finished front yet; run the search again with run={folder} to finish it.")
    cards = []
    for path in paths:
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            card["member"] = int(path.parent.name)
            card["bytes"] = int(card["bytes"])
            size_of(card)
            float(card["validation"]["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path} must be a card with bytes and validation.error, got {error!r}.") from error
        cards.append(card)
    return sorted(cards, key=lambda card: (float(card["validation"]["error"]), int(card["member"])))


def read_trials(run_folder: Path | str) -> list[Trial]:
    """Read `trials.jsonl`; a torn last line is left out.

    Raises:
        RecordError: If the folder is no run, or a line before the last one is broken.
    """
    path = _run_folder(run_folder) / "trials.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    trials = []
    for place, line in enumerate(lines):
        try:
            trials.append(Trial.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            if place == len(lines) - 1:
                break
            raise RecordError(f"{path}, line {place + 1}, must be a trial, got {error!r}.") from error
    return trials


def read_settings(run_folder: Path | str) -> dict[str, Any]:
    """Read `settings.yaml`.

    Raises:
        RecordError: If the folder is no run, or the file is no mapping.
    """
    path = _run_folder(run_folder) / "settings.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecordError(f"{path} must be YAML, got: {error}") from error
    if not isinstance(settings, dict):
        raise RecordError(f"{path} must be a mapping of settings, got {type(settings).__name__}.")
    return settings


def _run_folder(given: Path | str) -> Path:
    folder = Path(given)
    if not folder.is_dir():
        raise RecordError(f"There is no run folder {folder}.")
    missing = [name for name in ("settings.yaml", "trials.jsonl") if not (folder / name).is_file()]
    if missing:
        raise RecordError(f"{folder} is not a run folder: it has no {' and no '.join(missing)}.")
    return folder


def _interval(score: Mapping[str, Any], metric: str) -> str:
    low, high = score.get("low"), score.get("high")
    return "-" if low is None or high is None else f"{error_number(low, metric)}-{error_number(high, metric)}"


def _count(value: Any) -> str:
    return "-" if value is None else f"{int(value):,}"


def _latency(value: Any) -> str:
    return "-" if value is None else f"{float(value):,.1f}"
