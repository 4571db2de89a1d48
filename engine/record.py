"""A run folder: settings, trials, files. Whatever stops a search, what is recorded here stays."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml

from engine.artifact import Artifact
from engine.errors import RecordError, StudyError
from engine.lock import LOCK_NAME, locked
from engine.trial import Trial

__all__ = ["RunFolder"]

# What a resumed run may change: how long, how fast and how shown, never which trials.
FREE_SETTINGS = frozenset(
    ("budget", "seconds", "trial", "workers", "backend", "storage", "run", "finish", "teacher", "quiet", "id")
)
MAX_TOLD = 5  # damaged lines that an error names one by one


@final
@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def trials_path(self) -> Path:
        """The record: one JSON line a trial."""
        return self.path / "trials.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other driver out of this folder, until the block ends or this process does.

        Raises:
            RecordError: If another driver is at work in it.
            StudyError: If the folder cannot be written.
        """
        with ExitStack() as stack:
            self._guarded(lambda: stack.enter_context(locked(self.path)))
            yield

    def open(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, Trial]]:
        """Start a run, or open an earlier one to go on.

        Args:
            settings: As plain containers, with `digest` of the data and `lag`.

        Returns:
            The settings of the run (an earlier run's own `lag`), and its recorded trials by number.

        Raises:
            RecordError: If the folder holds another search, other data, or something else altogether.
        """
        earlier = self.verify(settings)
        known = self.path / "settings.yaml"
        if earlier is None:
            self._guarded(lambda: self.path.mkdir(parents=True, exist_ok=True))
            self._write(known, yaml.safe_dump(dict(settings), sort_keys=False))
            return dict(settings), {}
        merged = {**settings, "lag": earlier["lag"]}
        self._write(known, yaml.safe_dump(merged, sort_keys=False))
        return merged, self.load()

    def verify(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the settings of an earlier run here, or None for a new one; nothing is written.

        Raises:
            RecordError: As `open` does.
        """
        known = self.path / "settings.yaml"
        try:
            is_new = not known.exists()
        except OSError as error:
            raise RecordError(
                f"run={self.path} cannot be read: {error.strerror}. Name a folder that is open to this account."
            ) from error
        if is_new:
            if self.path.is_file() or (
                self.path.exists() and {entry.name for entry in self.path.iterdir()} - {LOCK_NAME}
            ):
                raise RecordError(f"run={self.path} is not a run folder: it has no settings.yaml. Name a new folder.")
            return None
        earlier = self._settings(known)
        differing = _differences(earlier, settings)
        if differing:
            raise RecordError(
                f"run={self.path} holds another search. Use its settings to go on with it, or another folder for a new "
                "one. These differ:\n  " + "\n  ".join(differing)
            )
        return earlier

    def load(self) -> dict[int, Trial]:
        """Read the record; a line torn by a crash is cut off.

        Raises:
            RecordError: If lines before the last are damaged, or tell of a trial again; it names them.
        """
        if not self.trials_path.exists():
            return {}
        content = self.trials_path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._guarded(lambda: os.truncate(self.trials_path, len(whole)))
        trials: dict[int, Trial] = {}
        problems = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                trial = Trial.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                problems.append(f"line {number} is damaged ({error}). Delete the line: its trial runs again.")
                continue
            if trials.setdefault(trial.number, trial) is not trial:
                problems.append(f"line {number} tells of trial {trial.number} again. Delete the line.")
        if problems:
            told = [f"{self.trials_path}, {problem}" for problem in problems[:MAX_TOLD]]
            rest = [f"{self.trials_path}, and {len(problems) - MAX_TOLD} more lines."] * (len(problems) > MAX_TOLD)
            raise RecordError("\n".join(told + rest))
        return trials

    def append(self, trial: Trial) -> None:
        """Record a trial; on return it is in the hands of the operating system.

        Raises:
            StudyError: If the disk is full or the folder cannot be written.
        """
        line = json.dumps(trial.to_json(), separators=(",", ":")) + "\n"
        self._guarded(lambda: self._append(line))

    def keep(self, artifact: Artifact) -> None:
        """Keep the file of a trial for as long as it may be on the front."""
        path, card = self._file(artifact.sha256), json.dumps(dict(artifact.card), sort_keys=True)
        if self.kept(artifact.sha256) is None:
            self._guarded(lambda: self._replace(path.with_suffix(".json"), card.encode()))
            self._guarded(lambda: self._replace(path, artifact.model))

    def kept(self, sha256: str) -> Artifact | None:
        """Return a kept file, or None if it is gone or was changed."""
        path = self._file(sha256)
        try:
            card = json.loads(path.with_suffix(".json").read_text())
            artifact = Artifact(path.read_bytes(), card)
        except (OSError, ValueError, RecursionError):
            return None
        return artifact if artifact.sha256 == sha256 and isinstance(card, dict) else None

    def forget(self, keeping: set[str]) -> None:
        """Delete kept files that are no longer on the front."""
        for path in (self.path / "files").glob("*.*"):
            if path.stem not in keeping:
                path.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        self._write(self.path / name, text)

    def write_error(self, error: OSError) -> StudyError:
        """Return what to tell when a file of the run cannot be written."""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "the disk is full" if is_full else error.strerror or str(error)
        return StudyError(
            f"{self.path} cannot be written: {reason}. What was recorded before is safe; "
            f"mend that and go on with run={self.path}."
        )

    def _settings(self, path: Path) -> dict[str, Any]:
        try:
            settings = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise RecordError(f"{path} is damaged: {error}") from error
        if not isinstance(settings, dict) or "lag" not in settings:
            raise RecordError(f"{path} is not the settings file of a run.")
        return settings

    def _file(self, sha256: str) -> Path:
        return self.path / "files" / f"{sha256}.onnx"

    def _append(self, line: str) -> None:
        with self.trials_path.open("ab") as record:
            record.write(line.encode())

    def _write(self, path: Path, text: str) -> None:
        self._guarded(lambda: self._replace(path, text.encode()))

    @staticmethod
    def _replace(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting = path.with_name(f".{path.name}.part")
        try:
            waiting.write_bytes(content)
            os.replace(waiting, path)
        except OSError:
            waiting.unlink(missing_ok=True)
            raise

    def _guarded(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            raise self.write_error(error) from error


def _differences(earlier: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """List keys whose values decide the trials and differ."""
    found = []
    is_same_data = earlier.get("digest") == now.get("digest")
    for key in [*earlier, *(key for key in now if key not in earlier)]:
        path = f"{where}{key}"
        if path in FREE_SETTINGS or path == "lag" or (path == "data" and is_same_data):
            continue  # a data file may move; what it holds may not change
        before, after = earlier.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{path}.")
        elif before != after:
            name = "the data (its digest)" if path == "digest" else path
            found.append(f"{name}: {_short(before)} in the run, {_short(after)} now")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
