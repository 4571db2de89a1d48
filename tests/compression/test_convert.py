import json

import numpy as np
import onnx
import pandas as pd
import pytest
from fitted import small_table
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import SVC

from compression.convert import to_onnx
from compression.tables import columns_of
from compression.tabular.agreement import Oracle, compare, losses
from engine.artifact import Artifact
from engine.errors import ArtifactError, DataError
from engine.guard import checked_model
from engine.inputs import table_inputs

NUMBERS, TEXTS = ["age", "income"], ["town", "size"]


def preparation(encoder=None):
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        (encoder or OneHotEncoder(handle_unknown="ignore"), TEXTS),
    )


@pytest.fixture(scope="module")
def table():
    return small_table(150)


def test_a_whole_pipeline_is_one_file_that_takes_rows_by_name(table):
    frame, target = table
    pipeline = make_pipeline(preparation(), LogisticRegression()).fit(frame, target)
    artifact = to_onnx(pipeline, frame)
    assert artifact.size <= 520
    rows = frame[["size", "income", "age", "town"]].copy()
    rows["town"] = rows["town"].fillna("never seen")
    expected = pipeline.predict_proba(rows)
    found = artifact.outputs(table_inputs(artifact, rows))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert artifact.predict(table_inputs(artifact, rows)).tolist() == pipeline.predict(rows).tolist()
    assert artifact.card["numeric_columns"] == NUMBERS
    assert artifact.card["sha256"] == artifact.sha256
    assert artifact.card["parity"]["made_up"] == ("missing", "unknown", "extreme")
    assert artifact.card["parity"]["flips"] == 0
    json.dumps(artifact.card)


def test_a_saved_file_is_read_through_the_guard_and_answers_the_same(table, tmp_path):
    frame, target = table
    pipeline = make_pipeline(preparation(), LogisticRegression()).fit(frame, target)
    artifact = to_onnx(pipeline, frame)
    artifact.save(tmp_path)
    inputs = columns_of(frame).inputs(frame)
    loaded = Artifact.load(tmp_path)
    np.testing.assert_array_equal(loaded.outputs(inputs), artifact.outputs(inputs))
    onnx.checker.check_model(onnx.load_model_from_string(loaded.model), full_check=True)


def test_the_same_estimator_gives_the_same_bytes(table):
    frame, target = table
    pipeline = make_pipeline(preparation(), GaussianRandomProjection(3, random_state=0), LogisticRegression()).fit(
        frame, target
    )
    assert to_onnx(pipeline, frame).model == to_onnx(pipeline, frame).model


@pytest.mark.parametrize("coding", ["float16", "int8", "int4"])
def test_rounded_weights_are_smaller_and_the_card_says_what_they_changed(table, coding):
    frame, target = table
    pipeline = make_pipeline(preparation(), MLPClassifier((24,), max_iter=60, random_state=0))
    with pytest.warns(UserWarning, match="Maximum iterations"):
        pipeline.fit(frame, target)
    exact, artifact = to_onnx(pipeline, frame), to_onnx(pipeline, frame, coding=coding)
    assert artifact.size < exact.size
    card = artifact.card
    assert card["coding"] == coding
    assert card["parity"]["coded_difference"] < 1e-4
    inputs = columns_of(frame).inputs(frame)
    moved = np.sqrt(((artifact.outputs(inputs) - pipeline.predict_proba(frame)) ** 2).mean())
    assert card["parity"]["rounding_difference"] == pytest.approx(moved, rel=0.01, abs=1e-6)


def test_codes_of_integers_over_unscaled_columns_are_refused_with_a_way_out():
    x, y = load_breast_cancer(return_X_y=True)
    estimator = LogisticRegression(max_iter=5000).fit(x, y)
    assert to_onnx(estimator, x, coding="float16").card["coding"] == "float16"
    with pytest.raises(ArtifactError, match="scale the columns before the model"):
        to_onnx(estimator, x, coding="int4")


def test_a_coding_that_would_be_longer_is_not_written():
    x, y = load_iris(return_X_y=True)
    artifact = to_onnx(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), x, coding="int8")
    assert artifact.card["coding"] == "float32"


def test_regression_says_so_and_gives_one_value_a_row():
    x, y = load_diabetes(return_X_y=True)
    model = Ridge().fit(x, y)
    artifact = to_onnx(model, x)
    assert artifact.task == "regression"
    assert artifact.outputs({"x": x[:3]}).shape == (3, 1)
    np.testing.assert_allclose(artifact.predict({"x": x}), model.predict(x), rtol=1e-5)


def test_searches_and_inner_pipelines_are_opened():
    x, y = load_iris(return_X_y=True)
    inner = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]})
    pipeline = make_pipeline(StandardScaler(), inner).fit(x, y)
    artifact = to_onnx(pipeline, x, names=["a", "b", "c", "d"])
    assert artifact.card["estimator"] == "LogisticRegression"
    assert artifact.metadata == {"numeric": '["a","b","c","d"]'}


ENSEMBLES = {
    "voting": VotingClassifier(
        [("a", make_pipeline(preparation(), LogisticRegression())), ("b", make_pipeline(preparation(), GaussianNB()))],
        voting="soft",
        weights=[2, 1],
    ),
    "bagging": make_pipeline(preparation(), BaggingClassifier(LogisticRegression(), 3, max_features=0.7)),
    "stacking": make_pipeline(
        preparation(), StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], cv=2, passthrough=True)
    ),
    "forest": make_pipeline(preparation(), RandomForestClassifier(5, max_depth=4, random_state=0)),
    "boosting": make_pipeline(
        preparation(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
        HistGradientBoostingClassifier(max_iter=5),
    ),
    "vectors": make_pipeline(preparation(), SVC()),
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_models_made_of_models_take_tables(table, name):
    frame, target = table
    estimator = ENSEMBLES[name].fit(frame, target)
    artifact = to_onnx(estimator, frame)
    inputs = columns_of(frame).inputs(frame)
    assert artifact.predict(inputs).tolist() == estimator.predict(frame).tolist()


def test_trees_behind_an_imputer_need_not_ask_for_missing_values():
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32).astype(np.float64)
    forest = RandomForestClassifier(3, max_depth=4, random_state=0)
    bare = to_onnx(forest.fit(x, y), x)
    filled = to_onnx(make_pipeline(SimpleImputer(), forest).fit(x, y), x)
    operators = [[n.op_type for n in onnx.load_model_from_string(a.model).graph.node] for a in (bare, filled)]
    imputer = ["IsNaN", "Where"]
    assert operators[1].count("IsNaN") == 1
    assert len(operators[1]) - len(imputer) < len(operators[0])  # trees that need not ask take fewer operators


def test_trees_of_lightgbm_take_missing_values():
    from lightgbm import LGBMClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32).astype(np.float64)
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    estimator = LGBMClassifier(n_estimators=5, num_leaves=7, verbose=-1).fit(x, y)
    artifact = to_onnx(estimator, x)
    assert artifact.card["parity"]["made_up"] == ("missing", "extreme")
    np.testing.assert_allclose(artifact.outputs({"x": x}), estimator.predict_proba(x), atol=1e-5)


def test_means_of_regressors():
    x, y = load_diabetes(return_X_y=True)
    members = [("a", Ridge()), ("b", KNeighborsRegressor()), ("c", RandomForestRegressor(3, max_depth=3))]
    estimator = VotingRegressor(members).fit(x, y)
    np.testing.assert_allclose(to_onnx(estimator, x).predict({"x": x}), estimator.predict(x), rtol=1e-4)


def test_a_file_that_answers_otherwise_is_caught_with_the_largest_difference():
    x, y = load_iris(return_X_y=True)
    one, other = LogisticRegression(C=1.0, max_iter=500).fit(x, y), LogisticRegression(C=0.01, max_iter=500).fit(x, y)
    oracle = Oracle.ask(one, one, x, columns_of(x))
    assert compare(oracle, to_onnx(one, x).model).flips == 0
    wrong = to_onnx(other, x).model
    with pytest.raises(ArtifactError, match=r"probabilities differ by up to 0\.\d+ on rows of the kind"):
        compare(oracle, wrong)
    with pytest.raises(ArtifactError, match="rounding the weights moves the answers"):
        losses(oracle, wrong)


def test_labels_that_do_not_follow_from_probabilities_are_no_parity(table):
    from sklearn.model_selection import FixedThresholdClassifier

    frame, target = table
    base = make_pipeline(preparation(), LogisticRegression())
    estimator = FixedThresholdClassifier(base, threshold=0.9, pos_label="yes").fit(frame, target)
    with pytest.raises(ArtifactError, match="FixedThresholdClassifier cannot be written"):
        to_onnx(estimator, frame)


def test_what_cannot_be_written_is_told(table):
    frame, target = table
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ArtifactError, match="must be or end with a classifier or a regressor, got KMeans"):
        to_onnx(KMeans(2, n_init=1).fit(x), x)
    with pytest.raises(DataError, match=r"does not take the rows of example: .*not fitted"):
        to_onnx(LogisticRegression(), x)
    with pytest.raises(ArtifactError, match="one value a row, the estimator 2"):
        to_onnx(LinearRegression().fit(x[:, :2], x[:, 2:]), x[:, :2])
    with pytest.raises(ArtifactError, match="coding must be one of"):
        to_onnx(LogisticRegression(max_iter=500).fit(x, y), x, coding="int3")
    texts = make_pipeline(make_column_transformer(("passthrough", TEXTS)), OneHotEncoder(), LogisticRegression())
    texts.fit(frame, target)
    assert checked_model(to_onnx(texts, frame).model)
    with pytest.raises(DataError, match="names must name each of the 4 columns"):
        to_onnx(LogisticRegression(max_iter=500).fit(x, y), x, names=["a"])


def test_integers_and_whole_categories_keep_one_form():
    frame = pd.DataFrame({"zone": pd.Categorical([1, 2, 3, 1, 2, 3]), "n": [5, 6, 7, 8, 9, 10]})
    target = [0, 1, 1, 0, 1, 0]
    pipeline = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["zone"]), remainder="passthrough"), LogisticRegression()
    ).fit(frame, target)
    artifact = to_onnx(pipeline, frame)
    given = {"x": frame[["n"]].to_numpy(), "c": np.array([["1"], ["2"], ["3"], ["1"], ["2"], ["3"]])}
    np.testing.assert_allclose(artifact.outputs(given), pipeline.predict_proba(frame), atol=1e-5)
