"""A mirror of the study in any Optuna storage, for optuna-dashboard to show; the run folder stays the record."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import re
import threading
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, final

from engine.errors import MissingExtraError, SettingsError
from engine.mirrored import entries_of
from engine.objective import Problem
from engine.samplers.optuna import quiet_optuna
from engine.trial import Trial

if TYPE_CHECKING:
    import optuna

__all__ = ["Mirror", "without_password"]

JOURNALS = (".journal", ".log")  # endings of Optuna's journal files
RETRY_SECONDS = (
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
    30.0,
)  # between attempts to reach a database that is gone; then the last
CONNECT_SECONDS = 5  # for a server to answer, where the URL names no time of its own
MAX_REFUSALS = 5
STALL_SECONDS = 5.0  # in which `close` waits for the next trial to be written, before it gives up

_logger = logging.getLogger("lilliput")


@final
class Mirror:
    """Copies ended trials into an Optuna study, in a thread of its own: the search never waits for a database.

    What is in the study already is kept, and not written again. When a database fails, trials wait in memory, one
    warning an outage goes to the log, and everything that is missing is written once it answers; also if it comes back
    empty, or had taken in a trial without saying so.

    Args:
        url: Of an Optuna storage: `sqlite:///runs.db`, `postgresql://user@host/name`, or the path of a journal file,
            which ends with `.journal` or `.log`.
        name: Of the study there; made if it is not there yet.
        problem: Its space and the names of its two axes.

    Raises:
        SettingsError: If the storage cannot be opened, or holds a study of that name with other objectives.
        MissingExtraError: If the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str, name: str, problem: Problem) -> None:
        self._url, self._name, self._problem = url, name, problem
        self._shown = without_password(url)
        self._waiting: deque[tuple[Trial, datetime]] = deque()
        self._changed = threading.Condition()
        self._is_closing = self._is_over = self._is_down = False
        self._attempts = self._refusals = 0  # in a row: to write a trial, and those by a database in service
        # Optuna logs a trace for each failure of a database, which is told here in one line.
        logging.getLogger("optuna.storages").setLevel(logging.CRITICAL + 1)
        try:
            first = self._connected()
        except (SettingsError, MissingExtraError):
            raise
        except Exception as error:  # drivers, SQLAlchemy and Optuna share no root
            raise SettingsError(
                f"storage must be the URL of an Optuna storage, or a journal file that ends with "
                f"{' or '.join(JOURNALS)}, got {self._shown!r}: {_line(error)}"
            ) from error
        self._thread = threading.Thread(target=self._serve, args=(first,), name="mirror", daemon=True)
        self._thread.start()

    def record(self, trial: Trial) -> None:
        """Take in an ended trial, to be written soon: one Optuna trial for each of its points."""
        with self._changed:
            self._waiting.append((trial, datetime.now()))
            self._changed.notify_all()

    def close(self) -> None:
        """Write what still waits, and let go of the database; one that does not answer is not waited for."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            left = len(self._waiting) + 1
            while not self._is_over and len(self._waiting) < left:
                left = len(self._waiting)
                self._changed.wait_for(functools.partial(self._has_moved, left), STALL_SECONDS)
            left = len(self._waiting)
        if left:
            _logger.warning("%d trials did not reach the storage %s; resume the run to write them.", left, self._shown)

    def _has_moved(self, left: int) -> bool:
        return self._is_over or len(self._waiting) < left

    def _serve(self, connection: _Connection | None) -> None:
        """Write trials until `close`, and come back after every failure."""
        try:
            while True:
                is_open = False
                try:
                    connection = connection or self._connected()
                    connection.look()
                    is_open = True
                    self._write_all(connection)
                    return
                except Exception as error:  # whatever a database does, the search goes on
                    self._tell(error)
                    self._attempts += 1
                    self._refusals += is_open
                    if self._refusals >= MAX_REFUSALS:
                        self._leave_out()
                    if self._paused(RETRY_SECONDS[min(self._attempts, len(RETRY_SECONDS)) - 1]):
                        return
                finally:
                    if connection is not None:
                        connection.close()
                        connection = None
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _write_all(self, connection: _Connection) -> None:
        """Write each trial that waits or comes, until there is none and none will come."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                trial, ended = self._waiting[0]
            connection.write(trial, ended)
            self._attempts = self._refusals = 0
            self._is_down = False
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    def _leave_out(self) -> None:
        """Give up a trial that a database in service does not take."""
        self._attempts, self._refusals = 1, 0
        with self._changed:
            if self._waiting:
                number = self._waiting.popleft()[0].number
                _logger.warning("The storage %s does not take trial %d, which is left out there.", self._shown, number)

    def _paused(self, seconds: float) -> bool:
        """Wait before another attempt; return whether there shall be none, as all is closing and two have failed."""
        with self._changed:
            if self._is_closing:
                self._changed.wait(seconds if self._attempts == 1 else 0)
                return self._attempts > 1
            self._changed.wait_for(lambda: self._is_closing, seconds)
            return False

    def _tell(self, error: Exception) -> None:
        if not self._is_down:
            _logger.warning(
                "The storage %s does not answer (%s); trials wait until it does, and are safe in the run folder.",
                self._shown,
                _line(error),
            )
        self._is_down = True

    def _connected(self) -> _Connection:
        with quiet_optuna():
            return _Connection(self._url, self._name, self._problem)


@final
class _Connection:
    """A study in an open storage, and which entries it holds."""

    def __init__(self, url: str, name: str, problem: Problem) -> None:
        self._problem = problem
        self._storage = _storage(url)
        self._written: set[tuple[int, int]] = set()
        try:
            self._study = self._opened(name)
        except BaseException:
            self.close()
            raise
        self._storage.remove_session()  # sessions belong to threads, and another one goes on

    def look(self) -> None:
        """Read which entries are there."""
        self._written = {
            (trial.user_attrs.get("number", -1), trial.user_attrs.get("point", 0))
            for trial in self._study.get_trials(deepcopy=False)
        }

    def write(self, trial: Trial, ended: datetime) -> None:
        """Write the entries of a trial that are not there."""
        places = range(max(1, len(trial.points)))
        missing = [place for place in places if (trial.number, place) not in self._written]
        if not missing:
            return
        entries = entries_of(self._problem, trial, ended)
        for place in missing:
            self._study.add_trial(entries[place])
            self._written.add((trial.number, place))

    def close(self) -> None:
        """Let go of the database, as far as it lets us."""
        with contextlib.suppress(Exception):  # of a connection that is broken already
            self._storage.remove_session()
        if hasattr(self._storage, "engine"):
            self._storage.engine.dispose()

    def _opened(self, name: str) -> optuna.Study:
        import optuna

        study = optuna.create_study(
            storage=self._storage, study_name=name, directions=["minimize", "minimize"], load_if_exists=True
        )
        names = [self._problem.error.name, self._problem.cost.name]
        known = study.metric_names
        if len(study.directions) != 2 or (known is not None and known != names):
            held = ", ".join(known or (f"{len(study.directions)} without names",))
            raise SettingsError(
                f"The storage holds a study {name!r} with other objectives ({held}, not {', '.join(names)}); give "
                "another name."
            )
        if known is None:
            study.set_metric_names(names)
        return study


def without_password(url: str) -> str:
    """Return a URL as it may be shown and recorded.

    Example:
        >>> without_password("postgresql://me:secret@host/name")
        'postgresql://me:***@host/name'
    """
    return re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", url)


def _storage(url: str) -> Any:
    """Open what a URL or a path names."""
    import optuna
    from sqlalchemy.engine import make_url

    if "://" not in url and url.endswith(JOURNALS):
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(url))
    address = make_url(url)
    if address.drivername == "postgresql":  # without a driver's name, which one is meant depends on SQLAlchemy
        if importlib.util.find_spec("psycopg") is None:
            raise MissingExtraError("storage=postgresql://... needs psycopg: pip install 'lilliput[postgresql]'.")
        address = address.set(drivername="postgresql+psycopg")
    if address.drivername.startswith("postgresql") and "connect_timeout" not in address.query:
        address = address.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return optuna.storages.RDBStorage(address.render_as_string(hide_password=False))


def _line(error: BaseException) -> str:
    """Return the first line of the first cause, which says what the database said."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
