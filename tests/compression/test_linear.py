"""All classifiers and regressors of scikit-learn: a file with the estimator's labels and values, or a clear error."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from compression.convert import to_onnx
from engine.errors import ArtifactError, EngineError

BINARY = make_classification(80, 5, random_state=0)
IRIS = load_iris(return_X_y=True)
VALUES = make_regression(80, 5, noise=5, random_state=0)

# What this file is about has to be written by ourselves, in this many bytes for iris and a binary target of 5 columns.
OWN = {
    "BernoulliNB": 240, "ComplementNB": 170, "GaussianNB": 365, "LinearDiscriminantAnalysis": 175, "LinearSVC": 175,
    "LogisticRegression": 175, "LogisticRegressionCV": 175, "MLPClassifier": 3400, "MultinomialNB": 175,
    "PassiveAggressiveClassifier": 175, "Perceptron": 175, "QuadraticDiscriminantAnalysis": 560,
    "RidgeClassifier": 175, "RidgeClassifierCV": 175, "SGDClassifier": 370, "OneVsRestClassifier": 220,
    "ARDRegression": 140, "BayesianRidge": 140, "ElasticNet": 140, "ElasticNetCV": 140, "GammaRegressor": 155,
    "HuberRegressor": 140, "Lars": 140, "LarsCV": 140, "Lasso": 140, "LassoCV": 140, "LassoLars": 140,
    "LassoLarsCV": 140, "LassoLarsIC": 140, "LinearRegression": 140, "LinearSVR": 140, "MLPRegressor": 3400,
    "OrthogonalMatchingPursuit": 140, "OrthogonalMatchingPursuitCV": 140, "PassiveAggressiveRegressor": 140,
    "PLSRegression": 140, "PoissonRegressor": 155, "QuantileRegressor": 140, "Ridge": 140, "RidgeCV": 140,
    "SGDRegressor": 140, "TheilSenRegressor": 140, "TweedieRegressor": 155,
}  # fmt: skip
WRITTEN = {
    "BaggingClassifier", "CalibratedClassifierCV", "CategoricalNB", "DecisionTreeClassifier", "ExtraTreeClassifier",
    "ExtraTreesClassifier", "GradientBoostingClassifier", "HistGradientBoostingClassifier", "NuSVC",
    "RandomForestClassifier", "SVC", "StackingClassifier", "BaggingRegressor", "DecisionTreeRegressor",
    "ExtraTreeRegressor", "ExtraTreesRegressor", "GradientBoostingRegressor", "HistGradientBoostingRegressor",
    "KNeighborsRegressor", "KernelRidge", "NuSVR", "RandomForestRegressor", "SVR", "StackingRegressor",
    "VotingRegressor", "GaussianProcessRegressor",
} | set(OWN)  # fmt: skip


def fitted(name, kind, x, y):
    """A small estimator of this kind, or None where it cannot be fitted without more ado."""
    settings = {}
    known = kind._get_param_names()
    is_classifier = hasattr(kind, "predict_proba") or "lassifier" in name
    if "estimator" in known:
        settings["estimator"] = LogisticRegression() if is_classifier else Ridge()
    if "estimators" in known:
        settings["estimators"] = [("a", LogisticRegression())] if is_classifier else [("a", Ridge()), ("b", Ridge(9))]
    if "n_estimators" in known:
        settings["n_estimators"] = 3
    if "max_iter" in known and "Boosting" in name:
        settings["max_iter"] = 3
    try:
        return kind(**settings).fit(x, y)
    except (ValueError, TypeError, AttributeError, IndexError):
        return None


def cases(kind):
    return [
        pytest.param(name, found, id=name)
        for name, found in all_estimators(type_filter=kind)
        if "Search" not in name and name != "GaussianProcessClassifier"
    ]


def check(name, estimator, x):
    if name in WRITTEN:
        artifact = to_onnx(estimator, x)
    else:
        try:
            artifact = to_onnx(estimator, x)
        except EngineError as error:
            told = str(error)
            artifact = None
        if artifact is None:
            assert name in told
            return
    assert artifact.size <= OWN.get(name, 10_000)
    inputs = {"x": x.astype(np.float32)}
    if artifact.task == "regression":
        expected = np.ravel(estimator.predict(x))
        np.testing.assert_allclose(artifact.predict(inputs), expected, rtol=1e-4, atol=1e-4 * expected.std())
    else:
        assert artifact.predict(inputs).tolist() == [str(label) for label in estimator.predict(x)]


@pytest.mark.parametrize(("name", "kind"), cases("classifier"))
def test_classifiers(name, kind):
    for x, y in (IRIS, BINARY):
        x = x.astype(np.float32).astype(np.float64)
        if name.endswith("NB") and name != "GaussianNB":
            x = np.abs(x).round()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator = fitted(name, kind, x, y)
        if estimator is not None:
            check(name, estimator, x)


@pytest.mark.parametrize(("name", "kind"), cases("regressor"))
def test_regressors(name, kind):
    x, y = VALUES
    y = np.abs(y) / 100 + 0.1 if name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor") else y
    x = x.astype(np.float32).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = fitted(name, kind, x, y)
    if estimator is not None:
        check(name, estimator, x)


@pytest.mark.parametrize("loss", ["hinge", "log_loss", "modified_huber", "perceptron"])
def test_losses_of_stochastic_gradient_descent(loss):
    for x, y in (IRIS, BINARY):
        x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32).astype(np.float64)
        estimator = SGDClassifier(loss=loss, random_state=0, alpha=0.01, max_iter=5000).fit(x, y)
        if loss != "modified_huber" or len(estimator.classes_) == 2:
            check("SGDClassifier", estimator, x)


def test_labels_that_equal_probabilities_do_not_tell_are_an_error():
    x, y = IRIS
    estimator = SGDClassifier(loss="modified_huber", random_state=0, alpha=0.01, max_iter=5000).fit(x, y)
    with pytest.raises(ArtifactError, match="labels that predict gives do not follow"):
        to_onnx(estimator, x)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh"])
def test_activations_of_perceptrons(activation):
    x, y = IRIS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPClassifier((5, 4), activation=activation, max_iter=20, random_state=0).fit(x, y)
    check("MLPClassifier", estimator, x)


@pytest.mark.parametrize("kernel", ["linear", "poly", "sigmoid", "rbf"])
def test_kernels(kernel):
    for x, y in (IRIS, BINARY):
        check("SVC", SVC(kernel=kernel, gamma=0.1, coef0=0.5, degree=2).fit(x, y), x)


def test_the_gaussian_process_has_the_scale_of_its_targets():
    x, y = VALUES
    estimator = GaussianProcessRegressor(alpha=1.0, normalize_y=True).fit(x, y)
    check("GaussianProcessRegressor", estimator, x)
