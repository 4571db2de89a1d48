"""Reading fitted scikit-learn classifiers and regressors as models of our own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from compression.dense import Dense, DenseModel, Manner, Model
from compression.features import Blocks, matrix
from compression.tables import TableGraph
from compression.tabular.foreign import ForeignModel
from compression.tabular.kernels import KERNELS, KernelModel, NeighborModel, Pairs
from compression.tabular.linear import GaussianClasses, QuadraticClasses, linear_model
from compression.tabular.mixtures import Average, Member, Stack
from compression.tabular.preprocessing import Affine, Chain, Step, Threshold
from compression.tabular.transformers import read_step
from engine.errors import ArtifactError

__all__ = ["answers_of", "foreign_model", "parts", "read_model", "unwrapped"]


def unwrapped(estimator: Any) -> Any:
    """Return the fitted estimator inside searches over settings and the like."""
    for name in ("best_estimator_", "estimator_"):
        if type(estimator).__name__ in WRAPPERS and hasattr(estimator, name):
            return unwrapped(getattr(estimator, name))
    return estimator.estimator if type(estimator).__name__ == "FrozenEstimator" else estimator


def answers_of(estimator: Any) -> str:
    """Return what an estimator tells of a row: `values`, `probabilities`, `scores` or `labels`."""
    if not hasattr(estimator, "classes_"):
        return "values"
    if hasattr(estimator, "predict_proba"):
        return "probabilities"
    return "scores" if hasattr(estimator, "decision_function") else "labels"


def read_model(estimator: Any, *, takes_missing: bool = True) -> tuple[Step, Model] | None:
    """Return an estimator as a last step of preparation and a model of our own; None if there is no lowering for it.

    Args:
        estimator: Fitted, without pipeline around it.
        takes_missing: Whether NaN may reach it; if not, trees are a little smaller.

    Raises:
        ArtifactError: If it has trees that cannot be read; it says why.

    Example:
        >>> from sklearn.linear_model import Ridge
        >>> _, model = read_model(Ridge(alpha=0).fit([[0.0], [1.0]], [1.0, 3.0]))
        >>> model.layers[0].weight.round(6).tolist(), model.layers[0].bias.round(6).tolist()
        ([[2.0]], [1.0])
    """
    is_known = type(estimator).__module__.split(".")[0] == "sklearn"
    reader = READERS.get(type(estimator).__name__) if is_known else None
    found = reader(estimator) if reader else _trees(estimator, takes_missing)
    return (Chain(()), found) if found is not None and not isinstance(found, tuple) else found


def foreign_model(estimator: Any) -> ForeignModel:
    """Return an estimator as skl2onnx writes it."""
    return ForeignModel(estimator, answers_of(estimator))


@final
@dataclass(frozen=True, eq=False)
class TreeModel:
    """An ensemble of trees.

    Args:
        ensemble: With the values that leaves shall have.
        leaves: How they are written, see `compression.trees.leaves.leaves_of`.
    """

    ensemble: Any
    leaves: str = "exact"
    codings: tuple[str, ...] = ("float32",)

    def lower(self, graph: TableGraph, blocks: Blocks, _: Manner, /) -> tuple[str, TreeModel]:
        """Write the trees."""
        from compression.trees.lower import lower_ensemble, lower_link

        raw = lower_ensemble(graph, self.ensemble, matrix(graph, blocks), leaves=self.leaves)
        return lower_link(graph, self.ensemble, raw), self


Read = Model | tuple[Step, Model] | None


def _values(estimator: Any) -> Read:
    return linear_model(estimator.coef_, estimator.intercept_, "identity")


def _log_values(estimator: Any) -> Read:
    return linear_model(estimator.coef_, estimator.intercept_, "exp")


def _tweedie(estimator: Any) -> Read:
    is_identity = estimator.link == "identity" or (estimator.link == "auto" and estimator.power <= 0)
    return _values(estimator) if is_identity else _log_values(estimator)


def _least_squares_parts(estimator: Any) -> Read:
    mean, coefficients = estimator._x_mean, np.atleast_2d(estimator.coef_)
    return linear_model(coefficients, estimator.intercept_ - coefficients @ mean, "identity")


def _scores(estimator: Any, link: str = "softmax") -> Read:
    """One score decides between two classes; otherwise each class has one."""
    return linear_model(estimator.coef_, estimator.intercept_, "sigmoid" if len(estimator.classes_) == 2 else link)


def _logistic(estimator: Any) -> Read:
    is_one_vs_rest = getattr(estimator, "multi_class", "deprecated") == "ovr" or estimator.solver == "liblinear"
    return _scores(estimator, "one_vs_rest" if is_one_vs_rest else "softmax")


def _stochastic(estimator: Any) -> Read:
    if estimator.loss == "log_loss":
        return _scores(estimator, "one_vs_rest")
    if estimator.loss != "modified_huber":
        return _scores(estimator)
    weight, bias = estimator.coef_, estimator.intercept_
    if len(estimator.classes_) == 2:
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return linear_model(weight, bias, "clipped")


def _one_vs_rest(estimator: Any) -> Read:
    parts = [read_model(part) for part in estimator.estimators_]
    models = [part[1] for part in parts if part is not None and isinstance(part[1], DenseModel)]
    if (
        len(models) < len(parts)
        or any(len(m.layers) > 1 or m.link != "sigmoid" for m in models)
        or estimator.multilabel_
    ):
        return None
    weight = np.concatenate([model.layers[0].weight for model in models], axis=1)
    bias = np.concatenate([model.layers[0].bias for model in models])
    has_shares = hasattr(estimator, "predict_proba")
    link = "sigmoid" if len(models) == 1 else "one_vs_rest" if has_shares else "softmax"
    return DenseModel((Dense(weight, bias),), link)


def _support_vectors(estimator: Any) -> Read:
    """One score for two classes or for values; for more classes one for each pair of them."""
    classes = len(getattr(estimator, "classes_", ()))
    if answers_of(estimator) == "probabilities" or estimator.kernel not in KERNELS:
        return None
    if classes <= 2:
        last = Dense(np.atleast_2d(estimator.dual_coef_).T, np.asarray(estimator.intercept_, np.float64))
        return _kernels(estimator, estimator.support_vectors_, last, "sigmoid" if classes else "identity")
    if estimator.decision_function_shape != "ovr":
        return None
    ends = np.concatenate([[0], np.cumsum(estimator.n_support_)])
    columns = []
    for first, second in itertools.combinations(range(classes), 2):
        column = np.zeros(ends[-1])
        for own, other in ((first, second - 1), (second, first)):
            part = slice(ends[own], ends[own + 1])
            column[part] = estimator.dual_coef_[other, part]
        columns.append(column)
    last = Dense(np.stack(columns, axis=1), np.asarray(estimator.intercept_, np.float64))
    return _kernels(estimator, estimator.support_vectors_, last, Pairs(classes))


def _kernels(estimator: Any, vectors: np.ndarray, last: Dense, link: str | Pairs) -> Model:
    if estimator.kernel == "linear" and isinstance(link, str):
        return linear_model((vectors.T @ last.weight).T, last.bias, link)
    gamma = getattr(estimator, "_gamma", estimator.gamma)  # what `scale` and `auto` came to
    return KernelModel(
        vectors,
        last,
        estimator.kernel,
        float(1 / vectors.shape[1] if gamma is None else gamma),
        float(estimator.coef0),
        float(estimator.degree),
        link,
    )


def _kernel_ridge(estimator: Any) -> Read:
    if estimator.kernel not in KERNELS or estimator.dual_coef_.ndim > 1:
        return None
    last = Dense(estimator.dual_coef_.reshape(-1, 1), np.zeros(1))
    return _kernels(estimator, np.asarray(estimator.X_fit_, np.float64), last, "identity")


def _gaussian_process(estimator: Any) -> Read:
    """Known is a squared exponential, with an amplitude and with noise or without."""
    kernel, amplitude = estimator.kernel_, 1.0
    if type(kernel).__name__ == "Sum" and type(kernel.k2).__name__ == "WhiteKernel":
        kernel = kernel.k1
    if type(kernel).__name__ == "Product" and type(kernel.k1).__name__ == "ConstantKernel":
        kernel, amplitude = kernel.k2, kernel.k1.constant_value
    if type(kernel).__name__ != "RBF" or np.size(estimator._y_train_std) > 1:
        return None
    width = np.broadcast_to(np.asarray(kernel.length_scale, np.float64), estimator.X_train_.shape[1:])
    weight = amplitude * estimator.alpha_.reshape(-1, 1) * np.reshape(estimator._y_train_std, -1)
    last = Dense(weight, np.reshape(estimator._y_train_mean, -1).astype(np.float64))
    model = KernelModel(estimator.X_train_ / width, last, "rbf", 0.5, 0.0, 0.0, "identity")
    return Affine(1 / width, np.zeros(len(width))), model


def _neighbors(estimator: Any) -> Read:
    targets = np.asarray(estimator._y)
    is_euclidean = estimator.effective_metric_ == "euclidean"
    if estimator.weights != "uniform" or not is_euclidean or targets.ndim > 1 or hasattr(estimator._fit_X, "toarray"):
        return None
    classes = len(getattr(estimator, "classes_", ()))
    return NeighborModel(np.asarray(estimator._fit_X, np.float64), targets, estimator.n_neighbors, classes)


def _gaussian(estimator: Any) -> Read:
    return GaussianClasses(estimator.theta_, estimator.var_, estimator.class_prior_)


def _quadratic(estimator: Any) -> Read:
    if not hasattr(estimator, "rotations_"):
        return None
    rank = max(len(scaling) for scaling in estimator.scalings_)
    projections, biases, constants = [], [], []
    rows = zip(estimator.rotations_, estimator.scalings_, estimator.means_, estimator.priors_, strict=True)
    for rotation, scaling, mean, prior in rows:
        projection = np.zeros((len(mean), rank))
        projection[:, : len(scaling)] = rotation / np.sqrt(2 * np.asarray(scaling))
        projections.append(projection)
        biases.append(-mean @ projection)
        constants.append(np.log(prior) - 0.5 * np.log(scaling).sum())
    return QuadraticClasses(np.concatenate(projections, axis=1), np.concatenate(biases), np.array(constants))


def _multinomial(estimator: Any) -> Read:
    return _joint(estimator.feature_log_prob_, estimator.class_log_prior_)


def _complement(estimator: Any) -> Read:
    return _joint(estimator.feature_log_prob_, np.zeros(len(estimator.classes_)))


def _bernoulli(estimator: Any) -> Read:
    absent = np.log1p(-np.exp(estimator.feature_log_prob_))
    model = _joint(estimator.feature_log_prob_ - absent, estimator.class_log_prior_ + absent.sum(axis=1))
    return model if estimator.binarize is None else (Threshold(float(estimator.binarize)), model)


def _joint(coefficients: np.ndarray, intercept: np.ndarray) -> Model:
    """Of two classes only the difference of their scores matters."""
    if len(intercept) == 2:
        return linear_model(coefficients[1] - coefficients[0], intercept[1] - intercept[0], "sigmoid")
    return linear_model(coefficients, intercept, "softmax")


def _perceptron(estimator: Any) -> Read:
    links = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}
    if estimator.out_activation_ not in links or (estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1):
        return None
    last = len(estimator.coefs_) - 1
    layers = tuple(
        Dense(weight.astype(np.float64), bias.astype(np.float64), "identity" if place == last else estimator.activation)
        for place, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    )
    return DenseModel(layers, links[estimator.out_activation_])


def parts(estimator: Any) -> tuple[list[Any], Any]:
    """Return the transformers and the last estimator of a pipeline, inner pipelines and searches opened."""
    estimator = unwrapped(estimator)
    if type(estimator).__name__ != "Pipeline":
        return [], estimator
    *before, last = [step for _, step in estimator.steps]
    inner, last = parts(last)
    return [*before, *inner], last


def _member(estimator: Any, features: tuple[int, ...] | None = None) -> Member:
    transformers, last = parts(estimator)
    try:
        own = read_model(last)
    except ArtifactError:
        own = None
    step, model = own or (Chain(()), foreign_model(last))
    return Member(features, Chain((*map(read_step, transformers), step)), model)


def _voting(estimator: Any) -> Read:
    if getattr(estimator, "voting", "soft") != "soft":
        return None
    weights = np.ones(len(estimator.estimators_))
    if estimator.weights is not None:
        weights = np.asarray(estimator._weights_not_none, np.float64)
    return Average(tuple(map(_member, estimator.estimators_)), weights / weights.sum())


def _bagging(estimator: Any) -> Read:
    classes = len(getattr(estimator, "classes_", ()))
    if classes and any(not _answers_all(part, classes) for part in estimator.estimators_):
        return None
    everything = tuple(range(estimator.n_features_in_))
    features = [tuple(map(int, places)) for places in estimator.estimators_features_]
    members = [
        _member(part, None if places == everything else places)
        for part, places in zip(estimator.estimators_, features, strict=True)
    ]
    return Average(tuple(members), np.full(len(members), 1 / len(members)))


def _answers_all(part: Any, classes: int) -> bool:
    """Whether an estimator tells the probability of each class, and not only of those that its rows had."""
    return answers_of(part) == "probabilities" and len(part.classes_) == classes


def _stacking(estimator: Any) -> Read:
    classes = len(getattr(estimator, "classes_", ()))
    if any(method != ("predict_proba" if classes else "predict") for method in estimator.stack_method_):
        return None
    count = len(estimator.estimators_)
    return Stack(
        tuple(map(_member, estimator.estimators_)),
        (int(classes == 2),) * count,
        (classes or 1,) * count,
        _member(estimator.final_estimator_),
        estimator.passthrough,
    )


def _trees(estimator: Any, takes_missing: bool) -> Read:
    """Trees are packed by `compression.trees`, as far as it reads them."""
    if type(estimator).__name__ not in TREES:
        return None
    from compression.trees.readers import read_ensemble

    return TreeModel(read_ensemble(estimator, takes_missing=takes_missing))


WRAPPERS = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "RANSACRegressor")

VALUES = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "Lars",
    "LarsCV", "ElasticNet", "ElasticNetCV", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
    "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "SGDRegressor",
    "PassiveAggressiveRegressor", "LinearSVR", "QuantileRegressor", "MultiTaskLasso", "MultiTaskElasticNet",
    "MultiTaskLassoCV", "MultiTaskElasticNetCV",
)  # fmt: skip
SCORES = (
    "RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier",
    "LinearDiscriminantAnalysis",
)  # fmt: skip

TREES = (
    "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
    "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
    "GradientBoostingClassifier", "GradientBoostingRegressor", "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor", "LGBMClassifier", "LGBMRegressor",
)  # fmt: skip

READERS: dict[str, Callable[[Any], Read]] = {
    **dict.fromkeys(("SVC", "NuSVC", "SVR", "NuSVR"), _support_vectors),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _neighbors),
    **dict.fromkeys(("VotingClassifier", "VotingRegressor"), _voting),
    **dict.fromkeys(("BaggingClassifier", "BaggingRegressor"), _bagging),
    **dict.fromkeys(("StackingClassifier", "StackingRegressor"), _stacking),
    "KernelRidge": _kernel_ridge,
    "GaussianProcessRegressor": _gaussian_process,
    **dict.fromkeys(VALUES, _values),
    **dict.fromkeys(SCORES, _scores),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor"), _log_values),
    **dict.fromkeys(("PLSRegression", "PLSCanonical", "CCA"), _least_squares_parts),
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV"), _logistic),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _perceptron),
    "TweedieRegressor": _tweedie,
    "SGDClassifier": _stochastic,
    "OneVsRestClassifier": _one_vs_rest,
    "MultinomialNB": _multinomial,
    "ComplementNB": _complement,
    "BernoulliNB": _bernoulli,
    "GaussianNB": _gaussian,
    "QuadraticDiscriminantAnalysis": _quadratic,
}
