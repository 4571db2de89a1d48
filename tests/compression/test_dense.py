import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.codings import coding_named
from compression.dense import (
    DENSE_CODINGS,
    LINKS,
    Dense,
    DenseModel,
    Manner,
    coded,
    dense_coding,
    linked,
    quantized,
    rounded,
)
from compression.features import Block, scaled
from compression.tables import TableColumns, TableGraph
from compression.tabular.kernels import Pairs
from engine.artifact import session
from engine.errors import ArtifactError


def run(graph, result, rows, outputs):
    columns = TableColumns(tuple(map(str, range(rows.shape[1]))), ("number",) * rows.shape[1], False)
    model = graph.table(result, columns, outputs, None)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    return session(model).run(None, {"x": rows.astype(np.float32)})[0]


@given(seed=st.integers(0, 1000), coding=st.sampled_from(DENSE_CODINGS), exponent=st.integers(-30, 12))
@settings(max_examples=30, deadline=None)
def test_a_file_decodes_exactly_the_weights_it_is_said_to_hold(seed, coding, exponent):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(rng.integers(1, 9), rng.integers(1, 9))) * 2.0**exponent
    weight[rng.random(weight.shape) < 0.2] = 0
    graph = TableGraph()
    held = coded(graph, weight, coding_named(coding))
    found = run(graph, graph.node("MatMul", "x", held), np.eye(len(weight)), weight.shape[1])
    np.testing.assert_array_equal(found, rounded(weight, coding_named(coding)))
    bound = {"float32": 1e-7, "float16": 1e-3, "int8": 0.005, "int4": 0.2}[coding]
    size = np.abs(weight).max(axis=0) if coding.startswith("int") else np.abs(weight)
    assert (np.abs(found - weight) <= bound * size + 1e-45).all()


def test_scales_of_least_error_cut_outliers():
    weight = np.concatenate([np.linspace(-1, 1, 400), [3.0]])[:, None]
    codes, scale = quantized(weight, coding_named("int4"))
    plain = np.clip(np.rint(weight / (3 / 7)), -7, 7) * (3 / 7)
    assert ((codes * float(scale[0]) - weight) ** 2).sum() < ((plain - weight) ** 2).sum()


@pytest.mark.parametrize("largest", [70_000.0, 65_504.0, 40_000.0, 1.0, 9e-5, 7e-5, 2e-5])
def test_scales_at_the_edge_of_float16_are_finite_and_of_one_type(largest):
    coding = coding_named("int8")
    weight = np.linspace(-1, 1, 101)[:, None] * largest * coding.reach
    codes, scale = quantized(weight, coding)
    half = largest / 2 >= 2.0**-14 and largest <= 65504
    assert scale.dtype == (np.float16 if half else np.float32)
    assert np.isfinite(scale).all()
    assert np.abs(codes * scale.astype(np.float64) - weight).max() <= 0.6 * largest


@pytest.mark.parametrize("coding", DENSE_CODINGS)
@pytest.mark.parametrize("folds", [True, False])
def test_layers_with_scaling_folded_or_apart(coding, folds):
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(3, 5)), rng.normal(size=(5, 2))
    model = DenseModel((Dense(first, rng.normal(size=5), "tanh"), Dense(second, rng.normal(size=2))), "softmax")
    blocks = scaled((Block.whole("x", 3),), np.array([0.5, 2.0, 1.0]), np.array([0.0, 1.0, -1.0]))
    rows = rng.normal(size=(7, 3))
    graph = TableGraph()
    name, held = model.lower(graph, blocks, Manner(coding, folds))
    found = run(graph, name, rows, 2)
    again = TableGraph()
    same = run(again, held.lower(again, blocks, Manner("float32", folds=False))[0], rows, 2)
    np.testing.assert_allclose(found, same, atol=1e-6)
    hidden = np.tanh((rows * [0.5, 2, 1] + [0, 1, -1]) @ first + model.layers[0].bias)
    scores = hidden @ second + model.layers[1].bias
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        found, expected, atol={"float32": 1e-6, "float16": 3e-3, "int8": 0.03, "int4": 0.3}[coding]
    )


def test_a_layer_without_bias_is_written_without():
    graph = TableGraph()
    DenseModel((Dense(np.ones((2, 1)), np.zeros(1)),), "identity").lower(
        graph, (Block.whole("x", 2),), Manner("float32", folds=True)
    )
    assert [node.op_type for node in graph.nodes] == ["MatMul"]


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("link", LINKS)
def test_links(link):
    rows = np.array([[0.3, -2.0, 1.5], [-200.0, -150.0, -300.0], [4.0, 0.0, 0.2]])
    scores = rows[:, :1] if link == "sigmoid" else rows
    graph = TableGraph()
    source = graph.node("Gather", "x", graph.integers([0]), axis=1) if link == "sigmoid" else "x"
    name = linked(graph, source, link)
    found = run(graph, graph.node("Identity", name) if name == "x" else name, rows, 2 if link == "sigmoid" else 3)
    with np.errstate(over="ignore"):
        shares = 1 / (1 + np.exp(-scores))
    clipped = np.clip(scores, -1, 1) + 1
    clipped[clipped.sum(axis=1) == 0] = 1
    expected = {
        "identity": scores,
        "exp": np.exp(scores),
        "sigmoid": np.concatenate([1 - shares, shares], axis=1),
        "softmax": softmax(scores),
        "one_vs_rest": shares / shares.sum(axis=1, keepdims=True),  # of sigmoids that float32 holds as zero
        "clipped": clipped / clipped.sum(axis=1, keepdims=True),
    }[link]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_votes_of_pairs():
    decisions = np.array([[1.0, -0.5, 2.0], [-3.0, -1.0, 0.1]])
    graph = TableGraph()
    found = run(graph, Pairs(3).lower(graph, "x"), decisions, 3)
    scores = []
    for d01, d02, d12 in decisions.tolist():
        votes = np.array([(d01 >= 0) + (d02 >= 0), (d01 < 0) + (d12 >= 0), (d02 < 0) + (d12 < 0)], float)
        total = np.array([d01 + d02, d12 - d01, -d02 - d12])
        scores.append(votes + total / (3 * (np.abs(total) + 1)))
    np.testing.assert_allclose(found, softmax(np.array(scores)), atol=1e-6)


def test_a_coding_that_dense_layers_have_not_is_refused():
    with pytest.raises(ArtifactError, match="coding must be one of float32, float16, int8, int4"):
        dense_coding("ternary")
