"""The parts below: numbers, thresholds, missing values, checks, readers' refusals."""

import dataclasses

import lightgbm
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, IsolationForest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from compression.graph import Graph
from compression.trees.check import check_trees, edge_rows
from compression.trees.ensemble import Ensemble, Tree, rounded_thresholds
from compression.trees.integers import Numbers
from compression.trees.layouts import forest_of, heap, missing_of, pointers
from compression.trees.lower import pack_ensemble
from compression.trees.readers import read_ensemble
from compression.trees.splits import splits_of
from engine.artifact import session
from engine.errors import ArtifactError


def decoded(numbers, **options):
    graph = Graph()
    graph.node("Add", numbers.write(graph, **options), "x", output="y")
    content = graph.model({"x": ("int32", (1,))}, {"y": ("int32", (None,))}, {})
    return session(content).run(None, {"x": np.zeros(1, np.int32)})[0], len(content)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70000), st.integers(1, 400), st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_numbers_come_back(base, count, multiple, skewed, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, base, count)
    if skewed:
        values = np.where(rng.random(count) < 0.1, values, np.minimum(rng.geometric(0.5, count), base - 1))
    numbers = Numbers(values)
    found, size = decoded(numbers, multiple=multiple)
    assert (found[:count] == values).all()
    assert len(found) % multiple == 0
    assert abs(size - numbers.size) < 120 + 8 * multiple
    assert (decoded(numbers, exact=True)[0] == values).all()


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=20), st.booleans())
def test_rounded_thresholds_divide_every_float32_alike(thresholds, strict):
    exact = np.array(thresholds)
    rounded = rounded_thresholds(exact, strict=strict)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
        beside = [np.nextafter(near, np.float32(way)) for way in (-np.inf, np.inf)]
    for x in (near, *beside):
        wanted = x.astype(np.float64) < exact if strict else x.astype(np.float64) <= exact
        is_lowest = np.isneginf(rounded) & strict  # below -inf there is nothing
        assert ((x <= rounded) == wanted)[~is_lowest].all()


@st.composite
def ensembles(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_features, n_outputs = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    width = draw(st.sampled_from([1, n_outputs]))
    link = draw(st.sampled_from(["identity", "exp", "mean", *(["sigmoid"] if n_outputs == 1 else ["softmax"])]))
    if link == "mean" and width < n_outputs:
        link = "softmax"
    values = np.round(rng.normal(size=200) * 8) / 4 if draw(st.booleans()) else rng.normal(size=200)
    trees = []
    for _ in range(n_outputs * draw(st.integers(1, 5))):
        left, right, leaves = [-1], [-1], [0]
        for _ in range(draw(st.integers(0, 12))):
            node = leaves.pop(int(rng.integers(len(leaves))))
            left[node], right[node] = len(left), len(left) + 1
            leaves += [len(left), len(left) + 1]
            left, right = [*left, -1, -1], [*right, -1, -1]
        n = len(left)
        missing = {"left": np.ones(n, bool), "right": np.zeros(n, bool), "mixed": rng.random(n) < 0.5}
        trees.append(Tree(rng.integers(0, n_features, n), rng.choice(values, n).astype(np.float32), np.array(left),
                          np.array(right), missing[draw(st.sampled_from(sorted(missing)))],
                          0.1 * rng.normal(size=(n, width))))  # fmt: skip
    return Ensemble(trees, n_features, n_outputs, rng.normal(size=n_outputs), link, draw(st.booleans()))


@settings(max_examples=40, deadline=None)
@given(ensembles())
def test_any_ensemble_gives_a_file_that_says_the_same(ensemble):
    rows = edge_rows(ensemble, np.random.default_rng(1))
    content = pack_ensemble(ensemble, x=rows)  # which compares, with optimisation and without
    found = session(content).run(None, {"x": rows})[0]
    assert np.allclose(found, ensemble.predict(rows), rtol=1e-5, atol=1e-5)


def test_the_check_refuses_a_file_of_other_trees():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    ensemble = read_ensemble(DecisionTreeRegressor(max_depth=4).fit(x, x[:, 0] * x[:, 1]))
    tree = ensemble.trees[0]
    other = dataclasses.replace(
        ensemble, trees=[dataclasses.replace(tree, threshold=tree.threshold + np.float32(1e-3))]
    )
    content = pack_ensemble(ensemble)
    assert check_trees(content, ensemble) < 1e-6
    with pytest.raises(ArtifactError, match=r"does not say what the trees say.*first in row \d+"):
        check_trees(content, other)


def test_layouts_hold_every_leaf():
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    ensemble = read_ensemble(GradientBoostingRegressor(n_estimators=4, max_depth=3).fit(x, x.sum(1)))
    forest = forest_of(ensemble, missing_of(ensemble))
    free, full = pointers(forest), heap(forest)
    assert sorted(free.leaves) == list(np.flatnonzero(forest.is_leaf))
    assert free.bits.sum() == ensemble.n_splits
    assert len(full.leaves) == 4 * 2**3
    assert set(full.leaves) == set(free.leaves)


def test_missing_values_cost_nothing_where_one_number_does():
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, num_threads=1).fit(x, x.sum(1))
    missing = missing_of(read_ensemble(model))  # LightGBM takes NaN for 0 where training had none
    assert missing.fill is not None
    assert not missing.split.any()
    assert missing_of(read_ensemble(model, takes_missing=False)).fill is None


@pytest.mark.parametrize("takes_all", [True, False])
def test_the_opposite_question_has_the_next_number_as_its_bound(takes_all):
    rng = np.random.default_rng(0)
    powers = np.concatenate([2.0 ** np.arange(-119, 127, 7), [2.0**127, 1e-35, 38.5]]).astype(np.float32)
    near = np.concatenate([np.nextafter(powers, np.float32(0)), powers, np.nextafter(powers, np.float32(np.inf))])
    drawn = np.exp(rng.uniform(-80, 80, 300)).astype(np.float32)
    threshold = np.concatenate([near, -near, drawn, -drawn])
    feature = np.arange(len(threshold)) % 2 * 3  # columns 0, and 0 of the second set
    graph = Graph()
    splits = next(s for s in splits_of(feature, threshold, 3, is_opposite=True) if s.kind == "direct")
    rows = np.stack([threshold, np.nextafter(threshold, np.float32(np.inf)), np.full_like(threshold, np.nan)])
    expected = np.where(feature == 3, rows > threshold, rows <= threshold)
    if takes_all:
        found, _ = splits.write_all(graph, "x", "LessOrEqual", deep=False)
    else:
        columns, bounds = splits.write_each(graph)
        both = graph.node("Concat", "x", graph.node("Neg", "x"), axis=1)
        found = graph.node("LessOrEqual", graph.node("Gather", both, columns, axis=1), bounds)
    graph.node("Cast", found, to=6, output="y")
    content = graph.model({"x": ("float32", (None, 3))}, {"y": ("int32", (None, None))}, {})
    x = np.repeat(rows.reshape(-1, 1), 3, axis=1)
    number = np.arange(len(threshold))
    for is_on in (True, False):
        said = session(content, optimized=is_on).run(None, {"x": x})[0].reshape(3, len(number), -1)
        np.testing.assert_array_equal(said[:, number, number], expected)


def test_contradictions_are_told_all_at_once():
    leaf = Tree(np.zeros(3, int), np.zeros(3), np.array([1, -1, -1]), np.array([1, -1, -1]), np.zeros(3, bool),
                np.full((3, 1), np.nan))  # fmt: skip
    with pytest.raises(ArtifactError) as caught:
        Ensemble([leaf], 1, 1, np.zeros(2), "identity")
    for part in ("base must have shape (1,)", "must be finite", "must be float32", "the child of one node"):
        assert part in str(caught.value)
    with pytest.raises(ArtifactError, match="did you mean 'softmax'"):
        Ensemble([leaf], 1, 1, np.zeros(1), "softmx")


def refused():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (400, 2)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=400)
    quiet = {"verbose": -1, "num_threads": 1, "n_estimators": 2}
    yield LinearRegression().fit(x, y), "No trees can be read from LinearRegression. Known: Booster"
    yield IsolationForest(n_estimators=2).fit(x), "No trees can be read from IsolationForest"
    yield DecisionTreeRegressor().fit(x, np.stack([y, y], 1)), "2 targets"
    yield GradientBoostingRegressor(n_estimators=1, init=LinearRegression()).fit(x, y), "starts from LinearRegression"
    yield HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(x, y), "categorical columns"
    yield lightgbm.LGBMRegressor(**quiet).fit(x, y, categorical_feature=[0]), "column 0 is categorical"
    yield lightgbm.LGBMRegressor(zero_as_missing=True, **quiet).fit(x, y), "zero_as_missing"
    yield lightgbm.LGBMRegressor(linear_tree=True, **quiet).fit(x, y), "linear_tree"
    yield lightgbm.LGBMRegressor(reg_sqrt=True, **quiet).fit(x, np.abs(y)), "sqrt"
    yield lightgbm.LGBMClassifier(objective="multiclassova", **quiet).fit(x, x[:, 1] % 3), "multiclassova"


@pytest.mark.filterwarnings("ignore:categorical_feature")
def test_what_cannot_be_read_is_told():
    for model, words in refused():
        with pytest.raises(ArtifactError) as caught:
            read_ensemble(model)
        assert words in str(caught.value)


def test_files_need_no_later_opset_than_thirteen():
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    content = pack_ensemble(read_ensemble(DecisionTreeRegressor(max_depth=3).fit(x, x[:, 0])))
    assert onnx.load_from_string(content).opset_import[0].version == 13
    assert len(content) < 900
