"""The tree of errors: what a caller may catch.

EngineError
├── SettingsError   a key, a type or a value of the command line     (also ValueError)
├── SpaceError      a candidate or a search space                    (also ValueError)
├── DataError       rows, columns, splits                            (also ValueError)
├── ArtifactError   a model file: unreadable, refused, not at parity (also ValueError)
├── FamilyError     a family that breaks its contract                (also ValueError)
├── RecordError     a run folder that cannot be resumed              (also ValueError)
├── StudyError      a search that cannot go on                       (also RuntimeError)
├── BackendError    workers                                          (also RuntimeError)
└── MissingExtraError  an optional package                           (also ImportError)
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable

__all__ = [
    "EXIT_ERROR",
    "EXIT_INTERRUPTED",
    "ArtifactError",
    "BackendError",
    "DataError",
    "EngineError",
    "FamilyError",
    "MissingExtraError",
    "RecordError",
    "SettingsError",
    "SpaceError",
    "StudyError",
    "did_you_mean",
    "report_error",
]

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class EngineError(Exception):
    """The root: everything that Lilliput raises on purpose."""


class SettingsError(EngineError, ValueError):
    """A key, a type or a value of the settings."""


class SpaceError(EngineError, ValueError):
    """A candidate that is not in its space, or a space that contradicts itself."""


class DataError(EngineError, ValueError):
    """Rows, columns or splits that cannot be used."""


class ArtifactError(EngineError, ValueError):
    """A model file that is unreadable, refused, or not at parity with its source."""


class FamilyError(EngineError, ValueError):
    """A family that breaks its contract."""


class RecordError(EngineError, ValueError):
    """A run folder that cannot be resumed."""


class StudyError(EngineError, RuntimeError):
    """A search that cannot go on."""


class BackendError(EngineError, RuntimeError):
    """Workers that cannot be started or kept alive."""


class MissingExtraError(EngineError, ImportError):
    """An optional package that is not installed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: `"; did you mean 'x'?"`, or a full stop when no known word is near.

    Example:
        >>> did_you_mean("bugdet", ["budget", "seed"])
        "; did you mean 'budget'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else "."


def report_error(error: EngineError) -> int:
    """Write each problem to standard error, a line each, indented lines as they are; return the exit code."""
    lines = str(error).splitlines()
    sys.stderr.write("".join(f"{line}\n" if line.startswith(" ") else f"error: {line}\n" for line in lines))
    return EXIT_ERROR
