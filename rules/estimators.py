"""Rule models as scikit-learn estimators: fit, predict, explain, export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)

from engine.data import Rows, Signature
from engine.errors import DataError
from engine.loaders.columns import as_numbers, as_text, canonical_text
from rules.demands import demands_for
from rules.generators.choice import best_genes, last_of
from rules.generators.generate import generate
from rules.generators.teacher import taught
from rules.report_explain import Explanation, explained
from rules.ruleset import RuleSet

__all__ = ["RuleClassifier", "RuleRegressor"]


class _RuleModel(BaseEstimator):  # type: ignore[misc]
    """What both estimators share."""

    generator: str
    max_rules: int
    max_conditions: int | None
    genes: Mapping[str, Any] | None
    monotone: Mapping[str, int] | None
    forbidden: tuple[str, ...]
    rules: str | Path | None
    teach: float
    random_state: Any

    ruleset_: RuleSet
    path_: list[RuleSet]
    genes_: dict[str, Any]
    signature_: Signature

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def explain(self, X: Any) -> list[Explanation]:  # noqa: N803
        """Say of each row which rules decided.

        Args:
            X: Rows as for `predict`.

        Returns:
            One explanation a row: the rules that applied, what each said, and the answer; it prints as text.
        """
        check_is_fitted(self, "ruleset_")
        return explained(self.ruleset_, self._inputs(X))

    def export(self, path: str | Path, X: Any = None, *, dialect: str = "duckdb") -> Path:  # noqa: N803
        """Write the rules, in the form that the ending of the path names, once that is proven to answer alike.

        Args:
            path: Ends in .onnx, .sql, .py, .json, .yaml or .txt.
            X: Rows to prove it on, best all training rows; corners of all boxes and random rows are always added.
            dialect: Of SQL, as sqlglot names it: `duckdb`, `sqlite`, `postgres`, `mysql`, ...

        Raises:
            ArtifactError: If the written form answers otherwise than the rules.
            SettingsError: If the ending names no form, or there is no such dialect.
        """
        from rules.exports.write import Sql, export

        check_is_fitted(self, "ruleset_")
        export(self.ruleset_, Path(path), None if X is None else self._inputs(X), sql=Sql(dialect))
        return Path(path)

    def _fit(self, X: Any, y: np.ndarray, classes: tuple[str, ...], weight: np.ndarray | None) -> None:  # noqa: N803
        seed = int(check_random_state(self.random_state).randint(2**31 - 1)) if self.random_state is not None else 0
        self._kinds = _kinds(X)
        inputs = self._inputs(X)
        names = self._names(X)
        numeric = tuple(name for name, is_number in zip(names, self._kinds, strict=True) if is_number)
        categorical = tuple(name for name, is_number in zip(names, self._kinds, strict=True) if not is_number)
        task = "classification" if classes else "regression"
        self.signature_ = Signature("table", task, (len(numeric),), "float32", classes, 0.0, 1.0, numeric, categorical)
        rows = Rows(y, inputs.get("x"), inputs.get("c"), weight)
        constraints = demands_for(
            self.rules,
            self.signature_,
            rows,
            max_rules=self.max_rules,
            max_conditions=self.max_conditions,
            monotone=self.monotone,
            forbidden=self.forbidden,
        )
        genes: dict[str, Any] = {"generator": self.generator, "rules": self.max_rules, "teach": self.teach}
        if self.generator == "auto":
            (genes,) = best_genes(rows, self.signature_, constraints, sizes=(self.max_rules,), seed=seed)
        genes |= dict(self.genes or {})
        soft = taught(rows, self.signature_, seed=seed) if genes.get("teach") else None
        path = list(generate(rows, self.signature_, genes, constraints, seed=seed, soft=soft))
        self.genes_ = genes
        self.path_ = [model for _, model in path]
        self.ruleset_ = last_of(iter(path))

    def _names(self, X: Any) -> tuple[str, ...]:  # noqa: N803
        if isinstance(X, pd.DataFrame):
            return tuple(map(str, X.columns))
        return tuple(f"x{place}" for place in range(self.n_features_in_))

    def _inputs(self, X: Any) -> dict[str, np.ndarray]:  # noqa: N803
        """Return `x` and `c` of rows as users have them."""
        is_new = hasattr(self, "signature_")
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=not is_new, skip_check_array=True)
            if not len(X):
                raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
        else:
            made = validate_data(self, X, reset=not is_new, dtype=np.float64, ensure_all_finite="allow-nan")
            X = pd.DataFrame(made)  # noqa: N806
        numbers, texts, problems = [], [], []
        for place, is_number in enumerate(self._kinds):
            column = X.iloc[:, place]
            if not is_number:
                texts.append(as_text(column).astype(str))
                continue
            values, other = as_numbers(column)
            with np.errstate(over="ignore"):
                single = values.astype(np.float32)
            if other.any() or np.isinf(single).any():
                problems.append(f"Column {X.columns[place]} must hold numbers within float32.")
            numbers.append(single)
        if problems:
            raise DataError("\n".join(problems))
        inputs = {"x": np.stack(numbers, axis=1)} if numbers else {}
        return inputs | ({"c": np.stack(texts, axis=1)} if texts else {})


class RuleClassifier(ClassifierMixin, _RuleModel):  # type: ignore[misc]
    """A classifier made of rules that a person can read.

    Args:
        generator: `score` (scored rules), `tree`, `list`, `set`, `sum` (sum of trees), or `auto`: the one that errs
            least on held-out rows.
        max_rules: Most rules.
        max_conditions: Most comparisons in all rules, or None.
        genes: What the generator takes besides, such as `{"depth": 2}`; `{"points": "integer"}` makes scored rules and
            sums of trees give whole points up to 5, with a table from their total to the probability.
        monotone: Direction by column: 1 where the probability of the second class may only rise with the value, -1
            where it may only fall.
        forbidden: Columns that no rule may use.
        rules: A file with rules and demands of your own.
        teach: Share of the targets that comes from a teacher, in [0, 1]: a blend of boosted and additive models.
        random_state: Of everything random.

    Example:
        >>> from sklearn.datasets import load_breast_cancer
        >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        >>> model = RuleClassifier(generator="score", max_rules=5).fit(X, y)
        >>> len(model.ruleset_.rules), bool(model.score(X, y) > 0.93)
        (5, True)
    """

    def __init__(
        self,
        *,
        generator: str = "auto",
        max_rules: int = 10,
        max_conditions: int | None = None,
        genes: Mapping[str, Any] | None = None,
        monotone: Mapping[str, int] | None = None,
        forbidden: tuple[str, ...] = (),
        rules: str | Path | None = None,
        teach: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.generator = generator
        self.max_rules = max_rules
        self.max_conditions = max_conditions
        self.genes = genes
        self.monotone = monotone
        self.forbidden = forbidden
        self.rules = rules
        self.teach = teach
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RuleClassifier:  # noqa: N803
        """Find rules.

        Args:
            X: DataFrame or array, shape (n_rows, n_columns); NaN for missing. Columns of text are categories.
            y: Classes, shape (n_rows,).
            sample_weight: Weight of each row, shape (n_rows,), or None.
        """
        X, y, weight = _checked(self, X, y, sample_weight)  # noqa: N806
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        counted = self.classes_ if weight is None else self.classes_[np.unique(index.reshape(-1)[weight > 0])]
        if len(counted) < 2:
            raise ValueError(f"The target must have rows of two classes or more, got 1 class: {counted}.")
        self._fit(X, index.reshape(-1).astype(np.int64), tuple(map(canonical_text, self.classes_.tolist())), weight)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return probabilities, float64, shape (n_rows, n_classes)."""
        check_is_fitted(self, "ruleset_")
        return self.ruleset_.values(self._inputs(X)).astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


class RuleRegressor(RegressorMixin, _RuleModel):  # type: ignore[misc]
    """A regressor made of rules that a person can read.

    Args:
        generator: `score` (rules that add up), `tree`, `list`, `sum` (sum of trees), or `auto`.
        max_rules: Most rules.
        max_conditions: Most comparisons in all rules, or None.
        genes: What the generator takes besides.
        monotone: Direction by column: 1 where the value may only rise, -1 where it may only fall.
        forbidden: Columns that no rule may use.
        rules: A file with rules and demands of your own.
        teach: Share of the targets that comes from a teacher, in [0, 1]: a blend of boosted and additive models.
        random_state: Of everything random.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = RuleRegressor(generator="score", max_rules=8).fit(X, y)
        >>> bool(model.score(X, y) > 0.45)
        True
    """

    def __init__(
        self,
        *,
        generator: str = "auto",
        max_rules: int = 10,
        max_conditions: int | None = None,
        genes: Mapping[str, Any] | None = None,
        monotone: Mapping[str, int] | None = None,
        forbidden: tuple[str, ...] = (),
        rules: str | Path | None = None,
        teach: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.generator = generator
        self.max_rules = max_rules
        self.max_conditions = max_conditions
        self.genes = genes
        self.monotone = monotone
        self.forbidden = forbidden
        self.rules = rules
        self.teach = teach
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RuleRegressor:  # noqa: N803
        """Find rules.

        Args:
            X: DataFrame or array, shape (n_rows, n_columns); NaN for missing. Columns of text are categories.
            y: Values, shape (n_rows,).
            sample_weight: Weight of each row, shape (n_rows,), or None.
        """
        X, y, weight = _checked(self, X, y, sample_weight)  # noqa: N806
        values = np.asarray(y, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("The target must hold finite numbers; it contains NaN or infinity.")
        self._fit(X, values, (), weight)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the value of each row, float64."""
        check_is_fitted(self, "ruleset_")
        return self.ruleset_.values(self._inputs(X))[:, 0].astype(np.float64)


def _checked(model: _RuleModel, X: Any, y: Any, weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:  # noqa: N803
    """Return rows, targets and weights that belong together; forget what was fitted before."""
    if hasattr(model, "signature_"):
        del model.signature_
    if y is None:
        raise ValueError(f"{type(model).__name__} requires y to be passed, but the target y is None.")
    if isinstance(X, pd.DataFrame):
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
    else:
        is_values = isinstance(model, RegressorMixin)
        X, y = validate_data(  # noqa: N806
            model, X, y, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2, y_numeric=is_values
        )
    return X, y, None if weight is None else _check_sample_weight(weight, X, dtype=np.float64)


def _kinds(X: Any) -> list[bool]:  # noqa: N803
    """Say of each column whether it holds numbers."""
    if not isinstance(X, pd.DataFrame):
        return [True] * X.shape[1]
    kinds = []
    for place in range(X.shape[1]):
        dtype = X.dtypes.iloc[place]
        kinds.append(bool(pd.api.types.is_numeric_dtype(dtype)) and not pd.api.types.is_bool_dtype(dtype))
    return kinds
