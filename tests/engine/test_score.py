"""Metrics, each beside scikit-learn's own."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LinearRegression, LogisticRegression
from toy import Toy, candidate, toy_data

from engine.artifact import Artifact
from engine.data import Rows, Signature
from engine.errors import DataError, SettingsError
from engine.metrics import (
    METRICS,
    SMALLEST_PROBABILITY,
    check_metric,
    default_metric,
    is_of_labels,
    metric_called,
    metric_named,
)
from engine.score import error_of, latency_us, score
from engine.scorers import scorer_names

ROWS = 200


def classified(seed, classes):
    """Probabilities that know a little of the classes, every class present."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, ROWS - classes)])
    logits = rng.normal(size=(ROWS, classes)) + 1.5 * np.eye(classes)[y]
    outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return outputs.astype(np.float32), y.astype(np.int64), rng.uniform(0.1, 3.0, ROWS)


def of_sklearn(metric, outputs, y, weight):
    chosen, labels = outputs.argmax(1), np.arange(outputs.shape[1])
    shares = outputs.astype(np.float64) / outputs.astype(np.float64).sum(1, keepdims=True)
    if metric == "accuracy":
        return 1 - metrics.accuracy_score(y, chosen, sample_weight=weight)
    if metric == "balanced_accuracy":
        return 1 - metrics.balanced_accuracy_score(y, chosen, sample_weight=weight)
    if metric == "log_loss":
        return metrics.log_loss(y, shares, labels=labels, sample_weight=weight)
    if metric == "brier":
        return metrics.brier_score_loss(y, shares, labels=labels, sample_weight=weight, scale_by_half=True)
    if metric == "mcc":
        return 1 - metrics.matthews_corrcoef(y, chosen, sample_weight=weight)
    if metric in ("f1", "f1_macro"):
        average = "binary" if metric == "f1" and outputs.shape[1] == 2 else "macro"
        return 1 - metrics.f1_score(y, chosen, average=average, sample_weight=weight)
    measure = {"auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}.get(metric)
    classes = [1] if outputs.shape[1] == 2 else labels
    if measure is not None:
        return 1 - np.mean([measure(y == k, outputs[:, k], sample_weight=weight) for k in classes])
    slow = {"ks": slow_ks, "lift": slow_lift}[metric]
    return np.mean([slow(y == k, outputs[:, k], np.ones(len(y)) if weight is None else weight) for k in classes])


def slow_ks(truth, score, weight):
    """From the definition: over all thresholds, the widest gap between the shares of both classes above it."""
    above = score >= score[:, None]
    shares = [(above * weight)[:, side].sum(axis=1) / weight[side].sum() for side in (truth, ~truth)]
    return 1 - (shares[0] - shares[1]).max()


def slow_lift(truth, score, weight):
    """Row by row from the highest score on, until a tenth of the weight is looked at; the last row counts in part."""
    left, found = 0.1 * weight.sum(), 0.0
    for row in np.argsort(-score):
        taken = min(weight[row], left)
        found += taken * truth[row]
        left -= taken
    return 1 - found / min(0.1 * weight.sum(), weight[truth].sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("metric", sorted(METRICS["classification"]))
def test_classification_agrees_with_scikit_learn(metric, classes, seed):
    outputs, y, _ = classified(seed, classes)
    found = error_of(outputs, Rows(y), metric=metric, task="classification")
    assert found == pytest.approx(of_sklearn(metric, outputs, y, None), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("metric", sorted(METRICS["classification"]))
def test_weighted_classification_agrees_with_scikit_learn(metric, classes, seed):
    outputs, y, weight = classified(seed, classes)
    found = error_of(outputs, Rows(y, weight=weight), metric=metric, task="classification")
    assert found == pytest.approx(of_sklearn(metric, outputs, y, weight), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("mape", metrics.mean_absolute_percentage_error),
        ("r2", lambda *given, **weights: 1 - metrics.r2_score(*given, **weights)),
    ],
)
def test_regression_agrees_with_scikit_learn(metric, reference, is_weighted, seed):
    rng = np.random.default_rng(seed)
    y, outputs = rng.normal(size=ROWS) * 100, rng.normal(size=(ROWS, 1)).astype(np.float32)
    weight = rng.uniform(0.1, 3.0, ROWS) if is_weighted else None
    found = error_of(outputs, Rows(y, weight=weight), metric=metric, task="regression")
    assert found == pytest.approx(reference(y, outputs[:, 0], sample_weight=weight))


@pytest.mark.parametrize(
    "name", [n for n in scorer_names("classification") if n not in {*METRICS["classification"], "top_k_accuracy"}]
)
def test_a_scorer_of_scikit_learn_judges_two_classes_as_scikit_learn_does(name):
    outputs, y, weight = classified(0, 2)
    estimator = LogisticRegression().fit(outputs[:, 1:], y)
    shares = estimator.predict_proba(outputs[:, 1:]).astype(np.float32)
    score = metrics.get_scorer(name)(estimator, outputs[:, 1:], y, sample_weight=weight)
    found = error_of(shares, Rows(y, weight=weight), metric=name, task="classification")
    assert found == pytest.approx(-score if name.startswith("neg_") else 1 - score, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in scorer_names("regression") if n not in METRICS["regression"]])
def test_a_scorer_of_scikit_learn_judges_values_as_scikit_learn_does(name):
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 3, (ROWS, 1)).astype(np.float32)
    y = x[:, 0].astype(np.float64) + rng.uniform(0, 1, ROWS)
    estimator = LinearRegression().fit(x, y)
    score = metrics.get_scorer(name)(estimator, x, y)
    found = error_of(estimator.predict(x)[:, None].astype(np.float32), Rows(y), metric=name, task="regression")
    assert found == pytest.approx(-score if name.startswith("neg_") else 1 - score, rel=1e-5)


def test_a_scorer_without_weights_refuses_them():
    rows = Rows(np.array([1.0, 2.0]), weight=np.array([1.0, 2.0]))
    with pytest.raises(SettingsError, match=r"metric neg_max_error knows no weights: remove data\.weight"):
        error_of(np.zeros((2, 1), np.float32), rows, metric="neg_max_error", task="regression")


def test_what_a_metric_is_shown_in():
    units = {name: metric_called(name).unit for name in ("auc", "log_loss", "mcc", "r2", "neg_median_absolute_error")}
    assert list(units.values()) == ["%", "log_loss", "1 - mcc", "1 - r2", "median_absolute_error"]
    assert metric_called("no such") is None
    assert [is_of_labels(name) for name in ("f1", "auc", "precision", "roc_auc", "neg_log_loss")] == [1, 0, 1, 0, 0]


def test_the_usual_metric_of_a_task():
    made = [Signature("table", "classification", (1,), "float32", tuple("abc"[:n])) for n in (2, 3)]
    made.append(Signature("table", "regression", (1,), "float32"))
    assert [default_metric(signature) for signature in made] == ["auc", "log_loss", "rmse"]


def test_a_metric_that_cannot_judge_the_data_is_told_before_the_search():
    data = toy_data()
    check_metric("auc", data)
    three = replace(
        data, signature=replace(data.signature, classes=("a", "b", "c")), rows=replace(data.rows, y=np.arange(300) % 3)
    )
    with pytest.raises(SettingsError, match="metric precision cannot judge these data: Target is multiclass"):
        check_metric("precision", three)
    weightless = replace(data, rows=replace(data.rows, weight=np.zeros(300)))
    with pytest.raises(DataError, match="must have a weight above 0, all 75 have none"):
        check_metric("auc", weightless)


@pytest.mark.parametrize("metric", ["ks", "lift", "auc", "average_precision"])
def test_rows_of_one_class_say_nothing(metric):
    outputs = np.full((4, 2), 0.5, np.float32)
    found = error_of(outputs, Rows(np.zeros(4, np.int64)), metric=metric, task="classification")
    assert found == (0.5 if metric == "auc" else 1.0)


def test_equal_scores_have_the_lift_of_chance():
    outputs, y = np.full((100, 2), 0.5, np.float32), (np.arange(100) < 20).astype(np.int64)
    assert error_of(outputs, Rows(y), metric="lift", task="classification") == pytest.approx(1 - 0.2)


@pytest.mark.parametrize("metric", sorted(METRICS["classification"]))
def test_perfect_outputs_have_no_error(metric):
    y = np.array([0, 1, 2, 0, 1, 2])
    assert error_of(np.eye(3, dtype=np.float32)[y], Rows(y), metric=metric, task="classification") == 0


def test_a_sure_mistake_costs_a_finite_loss():
    outputs = np.array([[1, 0], [0, 1]], np.float32)
    found = error_of(outputs, Rows(np.array([1, 1])), metric="log_loss", task="classification")
    assert found == pytest.approx(-np.log(SMALLEST_PROBABILITY) / 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("metric", "task"), [(metric, task) for task, known in METRICS.items() for metric in known])
def test_an_output_that_is_not_finite_is_infinitely_wrong(metric, task, value):
    outputs = np.full((4, 2), 0.5, np.float32)
    outputs[2, 1] = value
    y = np.array([0, 1, 0, 1]) if task == "classification" else np.zeros(4)
    assert error_of(outputs, Rows(y), metric=metric, task=task) == float("inf")


def test_a_class_without_rows_does_not_count():
    outputs, y = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]], np.array([0, 1, 1, 1])
    found = error_of(outputs, Rows(y), metric="balanced_accuracy", task="classification")
    assert found == pytest.approx((0 + 1 / 3) / 2)


def test_auc_of_rows_without_one_of_the_classes_is_a_number():
    outputs, y, _ = classified(0, 3)
    kept = y != 2
    assert np.isfinite(error_of(outputs[kept], Rows(y[kept]), metric="auc", task="classification"))


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(
        SettingsError,
        match=r"metric must be one of accuracy, .*, mcc for classification, or a scorer of scikit-learn, "
        r"got 'acuracy'; "
        r"did you mean 'accuracy'\?",
    ):
        metric_named("acuracy", "classification")
    with pytest.raises(
        SettingsError, match=r"metric must be one of rmse, mae, mape, r2 for regression, .* got 'accuracy'\."
    ):
        error_of(np.zeros((1, 1), np.float32), Rows(np.zeros(1)), metric="accuracy", task="regression")


def test_a_file_is_scored_by_its_outputs_and_its_length():
    data = toy_data()
    [(_, artifact)] = Toy().build(candidate(9), data, fold=0, fidelity=1, seed=0, report=lambda step, error: True)
    valid = data.valid(0)
    found = score(artifact, artifact.outputs({"x": valid.x}), valid, metric="accuracy", task="classification")
    wrong = artifact.outputs({"x": valid.x}).argmax(1) != valid.y
    assert found == {"error": wrong.mean(), "bytes": len(artifact.model)}
    assert 0 < latency_us(Artifact(artifact.model), valid, repeats=3) < 1e6
