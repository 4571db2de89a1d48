"""Metrics, each beside scikit-learn's own."""

import numpy as np
import pytest
from sklearn import metrics
from toy import Toy, candidate, toy_data

from engine.artifact import Artifact
from engine.data import Rows
from engine.errors import SettingsError
from engine.score import METRICS, SMALLEST_PROBABILITY, error_of, latency_us, metric_named, score

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
    if outputs.shape[1] == 2:
        return 1 - metrics.roc_auc_score(y, outputs[:, 1], sample_weight=weight)
    return 1 - metrics.roc_auc_score(y, shares, multi_class="ovr", labels=labels, sample_weight=weight)


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
    ("metric", "reference"), [("rmse", metrics.root_mean_squared_error), ("mae", metrics.mean_absolute_error)]
)
def test_regression_agrees_with_scikit_learn(metric, reference, is_weighted, seed):
    rng = np.random.default_rng(seed)
    y, outputs = rng.normal(size=ROWS) * 100, rng.normal(size=(ROWS, 1)).astype(np.float32)
    weight = rng.uniform(0.1, 3.0, ROWS) if is_weighted else None
    found = error_of(outputs, Rows(y, weight=weight), metric=metric, task="regression")
    assert found == pytest.approx(reference(y, outputs[:, 0], sample_weight=weight))


def test_every_metric_is_compared():
    assert set(METRICS["classification"]) == {"accuracy", "balanced_accuracy", "log_loss", "auc"}
    assert set(METRICS["regression"]) == {"rmse", "mae"}


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
        match=r"metric must be one of accuracy, balanced_accuracy, log_loss, auc for classification, got 'acuracy'; "
        r"did you mean 'accuracy'\?",
    ):
        metric_named("acuracy", "classification")
    with pytest.raises(SettingsError, match=r"metric must be one of rmse, mae for regression, got 'accuracy'\."):
        error_of(np.zeros((1, 1), np.float32), Rows(np.zeros(1)), metric="accuracy", task="regression")


def test_a_file_is_scored_by_its_outputs_and_its_length():
    data = toy_data()
    [(_, artifact)] = Toy().build(candidate(9), data, fold=0, fidelity=1, seed=0, report=lambda step, error: True)
    valid = data.valid(0)
    found = score(artifact, valid, metric="accuracy", task="classification")
    wrong = artifact.outputs({"x": valid.x}).argmax(1) != valid.y
    assert found == {"error": wrong.mean(), "bytes": len(artifact.model)}
    assert 0 < latency_us(Artifact(artifact.model), valid, repeats=3) < 1e6
