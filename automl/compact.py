"""What the estimators of tables share: settings, the search, and the choice among its files."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from automl.cells import FEW_ROWS, Cells
from automl.checked import cells_of, features_of
from engine.artifact import Artifact
from engine.errors import StudyError
from engine.front import Front
from engine.inputs import table_inputs
from engine.member import Member
from engine.trial import Point

if TYPE_CHECKING:
    from automl.settings import Settings
    from engine.load import DataSettings, Loaded
    from engine.threshold import ThresholdSettings

__all__ = ["Compact"]


class Compact(BaseEstimator):  # type: ignore[misc]
    """What both estimators share; use one of them.

    Args:
        seconds: For the whole fit; None for no limit but the budget.
        budget: Trials to train.
        metric: Error that is minimised, such as `auc`, `log_loss`, `rmse` or any scorer of scikit-learn; None for what
            suits the targets.
        max_bytes: No file is longer; None for no limit.
        monotone: From column to +1 or -1: the answer never falls, or never rises, with that column.
        families: Of models, such as `["linear", "additive", "boosting"]`; None for all.
        types: What columns are where the values suggest something else, from column to `number`, `category`, `boolean`,
            `date` or `date:%d.%m.%Y`.
        missing_codes: Values that stand for missing: in all columns, or from column to its own.
        forbid: Columns that must not be inputs; the card of the file tells them.
        workers: Processes; 1 searches in this one.
        run: Folder in which the whole search is recorded, and from which it goes on; None leaves nothing on disk.
        random_state: Seed of splits, search and training. With the same one, and no `seconds`, files repeat.
        verbose: Whether progress is shown.
    """

    _task: Literal["classification", "regression"]
    members_: tuple[Member, ...]
    front_: Front
    artifact_: Artifact
    _cells: Cells | None
    _columns: pd.Index | None

    def __init__(
        self,
        *,
        seconds: float | None = None,
        budget: int = 100,
        metric: str | None = None,
        max_bytes: int | None = 262_144,
        monotone: Mapping[str, int] | None = None,
        families: Sequence[str] | None = None,
        types: Mapping[str, str] | None = None,
        missing_codes: Sequence[float | str] | Mapping[str, Sequence[float | str]] | None = None,
        forbid: Sequence[str] | None = None,
        workers: int = 1,
        run: str | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.seconds = seconds
        self.budget = budget
        self.metric = metric
        self.max_bytes = max_bytes
        self.monotone = monotone
        self.families = families
        self.types = types
        self.missing_codes = missing_codes
        self.forbid = forbid
        self.workers = workers
        self.run = run
        self.random_state = random_state
        self.verbose = verbose

    def leaderboard(self) -> pd.DataFrame:
        """Return the finished files, most accurate on validation rows first.

        Returns:
            One row a file: `error` (of the metric, on validation rows; lower is better), `bytes`, `latency_us` (of one
            row on one thread, measured now), `coding`, `description`, and whether it `is_chosen`.
        """
        check_is_fitted(self)
        rows = []
        for member in self.members_:
            card = member.artifact.card
            rows.append(
                {
                    "error": member.point.values["error"],
                    "bytes": member.artifact.size,
                    "latency_us": _latency_us(member.artifact, self._example),
                    "coding": card.get("coding"),
                    "description": card.get("description"),
                    "is_chosen": member.artifact.sha256 == self.artifact_.sha256,
                }
            )
        return pd.DataFrame(rows)

    def best_under(self, *, bytes: int) -> Self:
        """Return this estimator with the most accurate file of at most this many bytes.

        Raises:
            StudyError: If every file is larger; it says how large the smallest is.
        """
        check_is_fitted(self)
        return self._with(self.front_.best_under(bytes=bytes).sha256)

    def smallest_within(self, *, error: float) -> Self:
        """Return this estimator with the smallest file of at most this error on validation rows.

        Raises:
            StudyError: If every file errs more; it says how little the best errs.
        """
        check_is_fitted(self)
        return self._with(self.front_.smallest_within(error=error).sha256)

    def export(self, path: Path | str) -> Path:
        """Write the chosen file, preparation and class names inside, with its card beside it.

        Args:
            path: A name that ends in .onnx, whose card is then called <name>.card.json; or a folder, for `model.onnx`
                and `card.json`.

        Returns:
            The path of the model.
        """
        check_is_fitted(self)
        path = Path(path)
        if path.suffix != ".onnx":
            return self.artifact_.save(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.artifact_.model)
        card = json.dumps(dict(self.artifact_.card), indent=2, sort_keys=True)
        path.with_name(f"{path.stem}.card.json").write_text(card)
        return path

    def _searched(
        self,
        X: Any,  # noqa: N803
        y: np.ndarray,
        sample_weight: Any,
        groups: Any,
        times: Any,
    ) -> tuple[Loaded, KeyboardInterrupt | None]:
        """Search, keep the finished files, and choose one; return the rows, and what ended the search early.

        That is raised once the estimator is fitted: what is found so far can be used.
        """
        from automl.search import run
        from engine.load import DataSettings, load_frame

        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        frame, weight = features_of(self, X, y, sample_weight)
        data = DataSettings(
            "frame",
            task=self._task,
            test_share=0.0,
            types=dict(self.types) if self.types else None,
            missing_codes=_codes(self.missing_codes),
            forbid=list(self.forbid or ()),
        )
        loaded = load_frame(frame, y, settings=data, sample_weight=weight, groups=groups, times=times, seed=int(seed))
        with tempfile.TemporaryDirectory() as folder:
            settings = self._settings(data, int(seed), self.run or f"{folder}/run", loaded.dataset.signature.classes)
            found = run(settings, loaded=loaded)
        if not found.members:
            raise StudyError("The search gave no file: " + (" ".join(found.notes) or "give it more seconds") + ".")
        members = [_judged(member, folds=len(loaded.dataset.splits)) for member in found.members]
        self.members_ = tuple(sorted(members, key=lambda member: (member.point.values["error"], member.artifact.size)))
        self.front_ = Front.of(member.point for member in members)
        self.notes_ = found.notes
        self.metric_ = str(members[0].artifact.card["metric"])
        self._example = loaded.dataset.rows.take(np.arange(1))
        self.artifact_ = _chosen(self.members_).artifact
        self._cells = Cells.of(self.artifact_, [str(name) for name in frame.columns])
        self._columns = frame.columns if hasattr(self, "feature_names_in_") else None
        return loaded, found.stop

    def _settings(self, data: DataSettings, seed: int, folder: str, classes: Sequence[str]) -> Settings:
        from automl.settings import DEFAULT_METRIC, Settings
        from automl.space import TabularSettings
        from engine.backends.settings import BackendSettings

        return Settings(
            data=data,
            space=TabularSettings(families=list(self.families)) if self.families is not None else TabularSettings(),
            threshold=self._threshold(classes),
            seconds=self.seconds,
            budget=self.budget,
            metric=self.metric or DEFAULT_METRIC,
            max_bytes=self.max_bytes,
            monotone=self.monotone or {},
            workers=self.workers,
            backend=BackendSettings(name="serial" if self.workers == 1 else "processes"),
            run=folder,
            seed=seed,
            quiet=not self.verbose,
        )

    def _threshold(self, classes: Sequence[str]) -> ThresholdSettings:  # noqa: ARG002
        """Return how labels are chosen from a file whose answers have the order of these classes; values have none."""
        from engine.threshold import ThresholdSettings

        return ThresholdSettings()

    def _with(self, sha256: str) -> Self:
        found = copy.copy(self)
        found.artifact_ = next(m.artifact for m in self.members_ if m.artifact.sha256 == sha256)
        return found

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return what the chosen file answers, float64, shape (n_rows, n_outputs)."""
        check_is_fitted(self)
        rows = cells_of(self, X, self._columns, FEW_ROWS) if self._cells is not None else None
        inputs = self._cells.read(rows) if self._cells is not None and rows is not None else None
        if inputs is None:
            frame, _ = features_of(self, X, None, None)
            inputs = table_inputs(self.artifact_, frame)
        return self.artifact_.outputs(inputs).astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _judged(member: Member, *, folds: int) -> Member:
    """Return a member whose error is that of all folds: the finished file's own is measured on one of them."""
    if folds == 1:
        return member
    values = {**member.searched.values, "bytes": float(member.artifact.size)}
    return replace(member, point=Point(member.point.candidate, values, member.artifact.sha256))


def _chosen(members: tuple[Member, ...]) -> Member:
    """Return the smallest member within a standard error of the best on validation rows.

    Source: Breiman et al. (1984), Classification and Regression Trees, section 3.4.3: the one-standard-error rule;
    differs in that bytes stand for complexity.
    """
    best = members[0]
    reach = best.point.values["error"] + best.point.values.get("error_se", 0.0)
    return min((m for m in members if m.point.values["error"] <= reach), key=lambda member: member.artifact.size)


def _latency_us(artifact: Artifact, example: Any) -> float:
    from engine.score import latency_us

    return round(latency_us(artifact, example), 1)


def _codes(given: Any) -> Any:
    """Return codes of missing values as settings take them."""
    if isinstance(given, Mapping):
        return {name: list(own) for name, own in given.items()}
    return None if given is None else list(given)
