import numpy as np
import pandas as pd
import pytest
from fitted import assert_alike, dense, lowered, small_table
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from compression.features import Block, scaled
from compression.tables import TableGraph, columns_of
from compression.tabular.categories import round_down, round_up
from compression.tabular.preprocessing import Affine, Chain, Fill
from compression.tabular.transformers import read_step
from engine.errors import ArtifactError

NUMBERS, TEXTS = ["age", "income"], ["town", "size"]

NUMERIC = {
    "mean": SimpleImputer(),
    "median, indicator": SimpleImputer(strategy="median", add_indicator=True),
    "constant": SimpleImputer(strategy="constant", fill_value=-7.5),
    "indicator": MissingIndicator(features="all"),
    "standard": StandardScaler(),
    "standard, mean alone": StandardScaler(with_std=False),
    "min-max": MinMaxScaler((-1, 1)),
    "min-max, clipped": MinMaxScaler(clip=True),
    "robust": RobustScaler(),
    "max-abs": MaxAbsScaler(),
    "scaled, then filled": make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=3.0)),
    "one-hot of numbers": OneHotEncoder(handle_unknown="ignore"),
}
FILLED = {
    "l1": Normalizer("l1"),
    "l2": Normalizer(),
    "largest, by skl2onnx": Normalizer("max"),
    "binary": Binarizer(threshold=45.0),
    "bins": KBinsDiscretizer(4, encode="ordinal", quantile_method="linear"),
    "bins, one-hot": KBinsDiscretizer(3, encode="onehot", strategy="uniform"),
    "squares": PolynomialFeatures(2),
    "products": make_pipeline(StandardScaler(), PolynomialFeatures(2, interaction_only=True, include_bias=False)),
    "components": make_pipeline(StandardScaler(), PCA(1)),
    "whitened": make_pipeline(StandardScaler(), PCA(2, whiten=True)),
    "singular": make_pipeline(StandardScaler(), TruncatedSVD(1)),
    "log": FunctionTransformer(np.log1p),
    "nothing": FunctionTransformer(),
    "best": SelectKBest(f_regression, k=1),
    "varied": VarianceThreshold(1e4),
    "union": FeatureUnion([("a", StandardScaler()), ("b", Binarizer(threshold=30.0)), ("c", "drop")]),
    "power": PowerTransformer(),
    "power of positive numbers": make_pipeline(
        MinMaxScaler((1, 5), clip=True), PowerTransformer("box-cox", standardize=False)
    ),
}
CATEGORICAL = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "first dropped": OneHotEncoder(handle_unknown="ignore", drop="first"),
    "rare together": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=15),
    "filled, one-hot": make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    "constant, one-hot": make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore")
    ),
    "codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "codes, gap -2": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    "codes, unknown missing": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    "means": TargetEncoder(cv=2, random_state=0),
}


def rows_with_everything(columns):
    rows, _ = small_table(40, seed=1)
    for name in set(columns) & set(TEXTS):
        rows.loc[rows.index % 5 == 0, name] = "never seen"
        rows.loc[rows.index % 7 == 0, name] = np.nan
    for name in set(columns) & set(NUMBERS):
        rows.loc[rows.index % 6 == 0, name] *= 4
    return rows[columns]


@pytest.mark.parametrize("name", NUMERIC)
def test_numbers_with_gaps(name):
    frame, target = small_table()
    transformer = NUMERIC[name].fit(frame[NUMBERS], target)
    rows = rows_with_everything(NUMBERS)
    found = lowered(transformer, frame[NUMBERS], rows)
    assert_alike(found, dense(transformer.transform(rows)))


@pytest.mark.parametrize("name", FILLED)
def test_numbers(name):
    frame, target = small_table()
    frame = frame[NUMBERS].fillna(20_000.0)
    transformer = FILLED[name].fit(frame, target == "yes")
    rows = rows_with_everything(NUMBERS).fillna(0.0)
    assert_alike(lowered(transformer, frame, rows), dense(transformer.transform(rows)))


@pytest.mark.parametrize("name", CATEGORICAL)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_texts_with_gaps_and_unknown_categories(name):
    frame, target = small_table()
    transformer = CATEGORICAL[name].fit(frame[TEXTS], target)
    rows = rows_with_everything(TEXTS)
    assert_alike(lowered(transformer, frame[TEXTS], rows), dense(transformer.transform(rows)))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_random_column_transformers(seed):
    rng = np.random.default_rng(seed)
    frame, target = small_table(seed=seed)
    frame = frame[rng.permutation(list(frame.columns)).tolist()]
    numbers = rng.permutation(NUMBERS).tolist()[: rng.integers(1, 3)]
    texts = rng.permutation(TEXTS).tolist()[: rng.integers(1, 3)]
    of_numbers = make_pipeline(SimpleImputer(), list(NUMERIC.values())[int(rng.integers(4, 10))])
    of_texts = list(CATEGORICAL.values())[int(rng.integers(0, 3))]
    branches = [("n", of_numbers, numbers), ("t", of_texts, texts)]
    transformer = ColumnTransformer([branches[place] for place in rng.permutation(2)])
    transformer.fit(frame, target)
    rows = rows_with_everything(list(frame.columns))
    assert_alike(lowered(transformer, frame, rows), dense(transformer.transform(rows)))


@pytest.mark.parametrize(
    "columns", ["age", ["age"], [0], slice(0, 1), slice("age", "age"), [True, False, False, False]]
)
def test_columns_named_in_every_way(columns):
    frame, _ = small_table()
    step = StandardScaler() if columns != "age" else SimpleImputer()
    if columns == "age":
        columns = ["age"]
    transformer = ColumnTransformer([("a", step, columns)]).fit(frame)
    assert_alike(lowered(transformer, frame, frame), dense(transformer.transform(frame)))


def test_flags_are_texts_in_the_file_and_numbers_to_the_estimator():
    frame = pd.DataFrame({"ok": [True, False, True], "n": [1.0, 2.0, 3.0]})
    transformer = StandardScaler().fit(frame)
    assert columns_of(frame).categorical == ("ok",)
    assert_alike(lowered(transformer, frame, frame), dense(transformer.transform(frame)))


def test_scaling_before_a_linear_layer_writes_nothing():
    graph = TableGraph()
    blocks = Chain((Affine(np.array([2.0]), np.array([1.0])), Fill((5.0,)))).lower(graph, (Block.whole("x", 1),))
    assert [node.op_type for node in graph.nodes] == ["IsNaN", "Where"]
    assert (blocks[0].scale, blocks[0].shift) == (2.0, 1.0)


def test_equal_texts_of_two_categories_are_refused():
    frame = pd.DataFrame({"c": ["1", "1.0", "2"]}, dtype=object)
    with pytest.raises(ArtifactError, match="must differ as texts, got '1'"):
        lowered(OneHotEncoder().fit(frame), frame, frame)


@given(value=st.floats(-1e30, 1e30))
def test_rounded_limits_decide_as_in_float64(value):
    near = np.float32(value)
    x = np.array([np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))])
    limit = np.array([value])
    np.testing.assert_array_equal(x <= round_down(limit), x.astype(np.float64) <= value)
    np.testing.assert_array_equal(x >= round_up(limit), x.astype(np.float64) >= value)


def test_values_are_centred_before_they_are_multiplied():
    year = np.arange(1990, 2020, dtype=np.float64).reshape(-1, 1)
    scaler = StandardScaler().fit(year / 1e3 + 1e4)
    x = (year / 1e3 + 1e4).astype(np.float32)
    np.testing.assert_allclose(lowered(scaler, x, x), scaler.transform(x.astype(np.float64)), atol=2e-5)


def test_scale_and_shift_follow_one_another():
    block = scaled(scaled((Block.whole("x", 2),), np.array([2.0, 3.0]), np.ones(2)), np.ones(2) * 5, np.zeros(2))[0]
    assert block.scale.tolist() == [10.0, 15.0]
    assert block.shift.tolist() == [5.0, 5.0]


def test_a_transformer_without_lowering_is_left_to_skl2onnx():
    assert type(read_step(Normalizer("max"))).__name__ == "Foreign"
