"""Files of real tree models against the models."""

import warnings

import lightgbm
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from compression.graph import Graph
from compression.trees.lower import lower_ensemble, lower_link, pack_ensemble
from compression.trees.readers import read_ensemble
from engine.artifact import Artifact, session
from engine.guard import checked_model

QUIET = {"verbose": -1, "num_threads": 1}
IRIS, CANCER, DIABETES = (load(return_X_y=True) for load in (load_iris, load_breast_cancer, load_diabetes))
CLASSIFIERS = [
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(max_depth=4, random_state=0),
    RandomForestClassifier(7, random_state=0),
    RandomForestClassifier(5, max_depth=3, class_weight="balanced", random_state=0),
    ExtraTreesClassifier(7, max_depth=5, random_state=0),
    GradientBoostingClassifier(n_estimators=6, random_state=0),
    HistGradientBoostingClassifier(max_iter=6, random_state=0),
    lightgbm.LGBMClassifier(n_estimators=6, **QUIET),
    lightgbm.LGBMClassifier(n_estimators=4, boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **QUIET),
]
REGRESSORS = [
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(max_depth=4, random_state=0),
    RandomForestRegressor(7, random_state=0),
    ExtraTreesRegressor(7, max_depth=5, random_state=0),
    GradientBoostingRegressor(n_estimators=6, random_state=0),
    GradientBoostingRegressor(n_estimators=3, loss="huber", init="zero", random_state=0),
    HistGradientBoostingRegressor(max_iter=6, random_state=0),
    HistGradientBoostingRegressor(max_iter=6, loss="poisson", random_state=0),
    lightgbm.LGBMRegressor(n_estimators=6, **QUIET),
    lightgbm.LGBMRegressor(n_estimators=6, objective="tweedie", **QUIET),
    lightgbm.LGBMRegressor(n_estimators=6, max_depth=1, **QUIET),
]


def said(model, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)[:, None]


def answers(content, x):
    checked_model(content)
    return session(content).run(None, {"x": x.astype(np.float32)})[0]


def named(model):
    return type(model).__name__


@pytest.mark.parametrize("model", CLASSIFIERS, ids=named)
@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["three", "two"])
def test_classifiers_keep_their_probabilities_and_labels(model, data):
    x, y = data[0].astype(np.float32), data[1]
    model.fit(x, y)
    content = pack_ensemble(read_ensemble(model), model.classes_, x=x)
    expected, found = said(model, x), answers(content, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-6
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert Artifact(content).classes == tuple(map(str, model.classes_))


@pytest.mark.parametrize("model", REGRESSORS, ids=named)
def test_regressors_keep_their_values(model):
    x, y = DIABETES[0].astype(np.float32), DIABETES[1]
    model.fit(x, y)
    content = pack_ensemble(read_ensemble(model), x=x)
    assert np.allclose(answers(content, x), said(model, x), rtol=1e-5)
    assert Artifact(content).task == "regression"


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(5, max_depth=4, random_state=0),
        DecisionTreeClassifier(max_depth=5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        lightgbm.LGBMClassifier(n_estimators=5, **QUIET),
    ],
    ids=named,
)
@pytest.mark.parametrize("in_training", [False, True])
def test_missing_values_go_where_the_model_sends_them(model, in_training):
    rng = np.random.default_rng(0)
    x, y = CANCER[0].astype(np.float32), CANCER[1]
    holes = np.where(rng.random(x.shape) < 0.2, np.float32(np.nan), x)
    model.fit(holes if in_training else x, y)
    content = pack_ensemble(read_ensemble(model), model.classes_, x=holes)
    assert np.abs(answers(content, holes) - said(model, holes)).max() < 2e-6


def test_the_forest_on_digits_is_small_and_agrees():
    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(20, max_depth=8, random_state=0).fit(x[:1200], y[:1200])
    content = pack_ensemble(read_ensemble(model), model.classes_)
    assert len(content) < 9000
    found, expected = answers(content, x[1200:]), model.predict_proba(x[1200:])
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize(("leaves", "most"), [("float16", 2e-3), ("int8", 2e-2), ("int4", 0.2)])
def test_fewer_bits_in_leaves_make_smaller_files_that_are_near(leaves, most):
    x, y = DIABETES[0].astype(np.float32), DIABETES[1] / DIABETES[1].std()
    model = HistGradientBoostingRegressor(max_iter=20).fit(x, y)
    ensemble = read_ensemble(model)
    exact, content = pack_ensemble(ensemble), pack_ensemble(ensemble, leaves=leaves)
    assert len(content) < len(exact)
    assert np.sqrt(np.mean((answers(content, x)[:, 0] - model.predict(x)) ** 2)) < most


def test_deep_forests_walk_instead_of_comparing_everything():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 6)).astype(np.float32)
    model = RandomForestRegressor(3, random_state=0).fit(x, np.sin(x).sum(1))
    content = pack_ensemble(read_ensemble(model), x=x)
    assert np.allclose(answers(content, x)[:, 0], model.predict(x), atol=1e-5)
    calls = [node for node in onnx.load_from_string(content).graph.node if node.domain]
    assert len(calls) >= 10  # a step of the way down is a local function


def test_a_tree_of_one_leaf_and_an_empty_column():
    x = np.zeros((20, 2), np.float32)
    content = pack_ensemble(read_ensemble(DecisionTreeRegressor().fit(x, np.full(20, 3.25))))
    assert (answers(content, np.array([[np.nan, 1], [np.inf, 0]])) == 3.25).all()


def test_the_same_model_gives_the_same_bytes():
    x, y = IRIS
    made = [pack_ensemble(read_ensemble(RandomForestClassifier(3, random_state=0).fit(x, y)), range(3)) for _ in "ab"]
    assert made[0] == made[1]


def test_two_ensembles_in_one_graph():
    x, y = CANCER[0].astype(np.float32), CANCER[1]
    first = read_ensemble(HistGradientBoostingClassifier(max_iter=3, max_depth=7).fit(x, y))
    second = read_ensemble(RandomForestClassifier(4, max_depth=8, random_state=0).fit(x, y))
    graph = Graph()
    outputs = [lower_link(graph, one, lower_ensemble(graph, one, "x")) for one in (first, second)]
    graph.node("Add", *outputs, output="y")
    content = graph.model({"x": ("float32", (None, x.shape[1]))}, {"y": ("float32", (None, 2))}, {})
    assert np.abs(answers(content, x) - first.predict(x) - second.predict(x)).max() < 2e-6


def test_the_reference_evaluator_agrees():
    x, y = IRIS[0].astype(np.float32), IRIS[1]  # few comparisons: from 32 on its GatherElements is wrong
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(x, y)
    content = pack_ensemble(read_ensemble(model), range(3))
    found = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})[0]
    assert np.abs(found - model.predict_proba(x)).max() < 1e-6


def test_an_unknown_way_to_write_leaves_is_told():
    x, y = IRIS
    with pytest.raises(ValueError, match="did you mean 'int8'"):
        pack_ensemble(read_ensemble(DecisionTreeClassifier().fit(x, y)), leaves="int88")


def test_lightgbm_splits_that_part_only_missing_values_from_all_others():
    rng = np.random.default_rng(0)
    x, missing = rng.integers(-3, 2, (300, 2)).astype(float), rng.random(300) < 0.3
    x[missing, 0] = np.nan
    model = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=5, **QUIET).fit(x, missing.astype(int))
    nodes = model.booster_.trees_to_dataframe()
    assert (nodes["threshold"].abs() >= 1e300).any()
    rows = x.astype(np.float32)
    assert np.abs(answers(pack_ensemble(read_ensemble(model)), rows) - said(model, rows.astype(float))).max() < 1e-6
