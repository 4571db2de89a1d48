"""Solver, targets, table, compaction: small parts against what they claim."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_tables import mixed
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from automl.compaction import leaf_numbers, pruned, refitted, snapped
from automl.models.trees import regrouped
from automl.preparation import for_trees
from automl.solver import answers, fit_weights
from automl.table import UNKNOWN, table_of
from automl.targets import Targets
from compression.trees.ensemble import Ensemble
from compression.trees.readers import read_ensemble

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)) * np.array([1, 10, 0.1, 1, 1]) + 3
Y = (X[:, 0] + X[:, 1] / 10 + RNG.normal(size=300) > 3.3).astype(int)
ONES = np.ones(300)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_solver_agrees_with_scikit_learn(classes):
    y = Y if classes == 2 else np.digitize(X[:, 0], [2.5, 3.5])
    goal = np.eye(classes)[y]
    link, scores = ("sigmoid", goal[:, 1:]) if classes == 2 else ("softmax", goal)
    weight, bias = fit_weights(X, scores, ONES, link, ridge=0.5)
    theirs = LogisticRegression(C=2.0, max_iter=20_000, tol=1e-9).fit(X, y).predict_proba(X)
    assert np.abs(answers(X @ weight + bias, link) - theirs).max() < 2e-3


def test_least_squares_agree_with_scikit_learn():
    goal = (X @ np.arange(5.0) + 7)[:, None]
    weight, bias = fit_weights(X, goal, ONES, "identity", ridge=3.0)
    theirs = Ridge(alpha=3.0).fit(X, goal[:, 0])
    assert np.allclose(weight[:, 0], theirs.coef_, atol=1e-5)
    assert bias[0] == pytest.approx(theirs.intercept_, abs=1e-4)


def test_a_lasso_makes_weights_zero_and_signs_are_kept():
    goal = Y[:, None].astype(float)
    lasso, _ = fit_weights((X - 3) / X.std(axis=0), goal, ONES, "sigmoid", ridge=0.0, lasso=20.0)
    assert 0 < (lasso == 0).sum() < 5
    signs = np.array([-1, 1, 0, 0, -1])
    signed, _ = fit_weights(X, goal, ONES, "sigmoid", ridge=0.1, signs=signs)
    assert signed[0] <= 0 <= signed[1]
    assert signed[4] <= 0


@pytest.mark.parametrize("lasso", [0.0, 1.0])
def test_a_fit_ends_with_what_it_has_when_it_may_not_go_on(lasso):
    asked = []

    def goes_on():
        asked.append(True)
        return len(asked) < 3

    goal = Y[:, None].astype(float)
    early, _ = fit_weights(X, goal, ONES, "sigmoid", ridge=0.1, lasso=lasso, goes_on=goes_on)
    late, _ = fit_weights(X, goal, ONES, "sigmoid", ridge=0.1, lasso=lasso)
    assert len(asked) == 3
    assert np.isfinite(early).all()
    assert not np.allclose(early, late)


def test_soft_targets_are_repeated_for_models_that_take_labels():
    soft = np.array([[0.25, 0.75], [1.0, 0.0]])
    y, weight, row = Targets(np.array([1, 0]), np.array([2.0, 1.0]), 2, soft, 1.0).repeated()
    assert list(zip(y.tolist(), weight.tolist(), row.tolist(), strict=True)) == [(0, 0.5, 0), (1, 1.5, 0), (0, 1.0, 1)]


def test_a_table_knows_its_texts_and_no_others():
    data = mixed(100)
    table = table_of(data)
    assert table.vocabularies[0] == ("", "Bern, upper town", "Ghent", "Oslo", "Ulm")
    rows = data.rows.take(np.arange(2))
    strange = type(rows)(rows.y, rows.x, np.array([["Ulm", "perhaps"], ["ulm", "no"]]))
    assert table.read(strange).codes.tolist() == [[4, UNKNOWN], [UNKNOWN, 0]]


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_short_thresholds_divide_rows_as_long_ones(seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(80, 3)) * 10.0 ** rng.integers(-6, 6, 3)).astype(np.float32)
    ensemble = read_ensemble(DecisionTreeClassifier(max_leaf_nodes=12).fit(x, rng.integers(0, 2, 80)))
    short = snapped(ensemble, x, half=False)
    assert np.array_equal(leaf_numbers(ensemble, x), leaf_numbers(short, x))


def boosted_pair(outputs=1):
    from automl.lesson import Lesson
    from automl.models.boosting import boosted

    data = mixed(240, outputs + 1 if outputs == 1 else outputs)
    table = table_of(data)
    targets = Targets(table.y, table.weight, len(data.signature.classes))
    preparation = for_trees(table, table.columns, targets, rare=1, order="target")
    x = preparation.apply(table.columns).astype(np.float32)
    lesson = Lesson(table, table.columns, targets, np.zeros(6), "auc", 0)
    return boosted(x, lesson, {"num_leaves": 6, "min_data_in_leaf": 5}, 8), x, targets, preparation


@pytest.mark.parametrize("outputs", [1, 3])
def test_leaves_fitted_together_lower_the_loss(outputs):
    ensemble, x, targets, _ = boosted_pair(outputs)
    refit = refitted(ensemble, leaf_numbers(ensemble, x), targets, ridge=1.0)

    def loss(found: Ensemble) -> float:
        return -np.log(found.predict(x)[np.arange(len(x)), targets.y]).mean()

    assert loss(refit) < 0.95 * loss(ensemble)


def test_pruning_removes_the_share_that_is_asked_and_changes_little():
    ensemble, x, targets, _ = boosted_pair()
    shorter = pruned(ensemble, leaf_numbers(ensemble, x), targets.weight, 0.3)
    assert shorter.n_splits == ensemble.n_splits - int(0.3 * ensemble.n_splits)
    assert np.abs(shorter.predict(x) - ensemble.predict(x)).mean() < 0.1
    assert (
        np.abs(pruned(ensemble, leaf_numbers(ensemble, x), targets.weight, 0.0).predict(x) - ensemble.predict(x)).max()
        == 0
    )


def test_categories_that_no_split_tells_apart_share_a_number():
    ensemble, x, _, preparation = boosted_pair()
    fewer = replace(ensemble, trees=ensemble.trees[:2])
    grouped, moved = regrouped(preparation, fewer)
    rows = table_of(mixed(240, 2)).columns
    assert np.allclose(moved.predict(grouped.apply(rows).astype(np.float32)), fewer.predict(x))
    before, after = (len(set(made.parts[1].values[0].tolist())) for made in (preparation, grouped))
    assert after <= before
