"""A mirror of the study in any Optuna storage, for optuna-dashboard to show; the run folder stays the record."""

from __future__ import annotations

import datetime
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Any, final

from engine.errors import SettingsError
from engine.objective import Problem
from engine.samplers.optuna import distributions_of, quiet_optuna
from engine.trial import Point, State, Trial

if TYPE_CHECKING:
    import optuna

__all__ = ["Mirror"]

_logger = logging.getLogger("lilliput")


@final
class Mirror:
    """Copies ended trials into an Optuna study.

    What is in the study already is kept, and not written again. A database that fails later never stops the search:
    trials wait until it answers, and one warning an outage goes to the log.

    Args:
        url: Of an Optuna storage, such as `sqlite:///runs.db`.
        name: Of the study there; made if it is not there yet.
        problem: Its space and the names of its two axes.

    Raises:
        SettingsError: If the storage cannot be opened, or holds a study of that name with other objectives.
    """

    def __init__(self, url: str, name: str, problem: Problem) -> None:
        import optuna

        self._url, self._problem = url, problem
        self._waiting: deque[optuna.trial.FrozenTrial] = deque()
        self._is_down = False
        try:
            with quiet_optuna():
                self._storage = optuna.storages.RDBStorage(url)
                self._study = self._opened(name)
                self._written = {
                    (trial.user_attrs.get("number", -1), trial.user_attrs.get("point", 0))
                    for trial in self._study.get_trials(deepcopy=False)
                }
        except SettingsError:
            raise
        except Exception as error:  # drivers, SQLAlchemy and Optuna share no root
            raise SettingsError(f"storage must be the URL of an Optuna storage, got {url!r}: {_line(error)}") from error

    def record(self, trial: Trial) -> None:
        """Write an ended trial, one Optuna trial for each of its points; what was written before is skipped."""
        for place, point in enumerate(trial.points or (None,)):
            if (trial.number, place) not in self._written:
                self._written.add((trial.number, place))
                self._waiting.append(self._frozen(trial, place, point))
        self._flush()

    def close(self) -> None:
        """Write what still waits, and let go of the database."""
        self._flush()
        if self._waiting:
            _logger.warning(
                "%d entries did not reach the storage %s; resume the run to write them.", len(self._waiting), self._url
            )
            self._waiting.clear()
        self._storage.remove_session()
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
        study.set_metric_names(names)
        return study

    def _flush(self) -> None:
        try:
            with quiet_optuna():
                while self._waiting:
                    self._study.add_trial(self._waiting[0])
                    self._waiting.popleft()
        except Exception as error:  # whatever a database does, the search goes on
            self._storage.remove_session()
            if not self._is_down:
                _logger.warning(
                    "The storage %s does not answer (%s); trials wait until it does, and are safe in the run folder.",
                    self._url,
                    _line(error),
                )
            self._is_down = True
        else:
            self._is_down = False

    def _frozen(self, trial: Trial, place: int, point: Point | None) -> optuna.trial.FrozenTrial:
        import optuna

        candidate = trial.candidate if point is None else point.candidate
        attributes: dict[str, Any] = {
            "number": trial.number,
            "point": place,
            "state": trial.state.value,
            "seconds": trial.seconds,
            "seed": trial.seed,
        }
        values = None
        if point is not None:
            axes = (self._problem.error.name, self._problem.cost.name)
            attributes |= {name: value for name, value in point.values.items() if name not in axes or name == "bytes"}
            attributes["sha256"] = point.sha256
            values = [point.values[axis] for axis in axes]
        if trial.error:
            attributes["error"] = trial.error
        if trial.twin is not None:
            attributes["twin"] = trial.twin
        is_scored = trial.state in (State.COMPLETE, State.CACHED) and values and all(map(math.isfinite, values))
        states = optuna.trial.TrialState
        frozen = optuna.trial.create_trial(
            state=states.COMPLETE if is_scored else states.PRUNED if trial.state is State.RACED else states.FAIL,
            values=values if is_scored else None,
            params=candidate.genes,
            distributions=distributions_of(self._problem.space, candidate),
            user_attrs=attributes,
        )
        ended = datetime.datetime.now()
        frozen.datetime_start, frozen.datetime_complete = ended - datetime.timedelta(seconds=trial.seconds), ended
        return frozen


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
