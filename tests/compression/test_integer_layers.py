"""Files that compute with integers: the same codes as in torch, to the bit, whatever the network."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import NAMED, random_plan, signature_of

from compression.codings import CODINGS, decode, in_seven_bits
from compression.graph import Graph
from compression.nets.activations import Activations, in_integers, levels_of
from compression.nets.export import lowered_plan
from compression.nets.integer_twin import run_integer, whole_parts
from compression.nets.layers import Weights, empty_weights
from compression.nets.network import Network
from compression.nets.plan import Addition, Convolution, Linear, Mean, Plan, Pooling
from compression.nets.train import prepared
from compression.nets.verify import check_parity, check_reference, edge_rows
from engine.artifact import session
from engine.errors import ArtifactError


def whole_plan(seed, **more):
    """A random plan whose convolutions have integer codes, executed with integers."""
    plan = random_plan(seed, **more)
    steps = [
        replace(step, coding="int8") if isinstance(step, Convolution) and not CODINGS[step.coding].is_integer else step
        for step in plan.steps
    ]
    return in_integers(Plan(plan.signature, tuple(steps)))


def whole_weights(plan, seed):
    """Random codes, and scales and biases of both signs that bring sums into the range of the codes, and beyond."""
    rng, made = np.random.default_rng(seed), {}
    for step in plan.weighted:
        coding, empty = in_seven_bits(CODINGS[step.coding]), empty_weights(plan)[step.name]
        shape, scale, bias = empty.codes.shape, None, None
        codes = rng.normal(0, 0.01, shape)
        if coding.is_integer:
            codes = rng.integers(coding.low, coding.high + 1, shape)
            codes[np.unravel_index(rng.permutation(codes.size)[coding.kept(codes.size) :], shape)] = 0
            fan_in = max(1, empty.codes.size // step.channels_out)
            scale = rng.normal(0, 16 * 2 / coding.reach / np.sqrt(fan_in), step.channels_out)
            scale = np.copysign(np.maximum(np.abs(scale), 2.0**-14), scale)
            scale = (scale if isinstance(step, Convolution) else scale / 1000).astype(np.float16)
        if empty.bias is not None:
            spread = 16 * 60 if isinstance(step, Convolution) else 1
            bias = rng.normal(0, spread, step.channels_out).astype(np.float16)
        made[step.name] = Weights(codes, scale, bias)
    return made


@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_any_network_gives_the_codes_of_its_twin_to_the_bit(seed):
    plan = whole_plan(seed, classes=NAMED if seed % 5 == 0 else ("0", "1", "2"))
    weights = whole_weights(plan, seed)
    lowered = lowered_plan(plan, weights)
    assert len(lowered.model) == len(lowered_plan(plan, empty_weights(plan)).model)
    rows = edge_rows(plan, seed=seed)
    assert check_parity(plan, weights, lowered, rows, seed=seed).difference <= 1e-5
    expected = torch.softmax(run_integer(plan, weights, prepared(rows, plan.signature).float()), 1).numpy()
    for optimized in (True, False):
        found = session(lowered.model, optimized=optimized).run(None, {"x": rows})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    reference = check_reference(plan, lowered, rows)
    has_maxima = any(isinstance(step, Pooling) and step.kind == "max" for step in plan.steps)
    assert (reference is None) == (plan.dimensions == 1 or has_maxima)


@given(data=st.data(), name=st.sampled_from([name for name, c in CODINGS.items() if c.is_integer]))
@settings(max_examples=40, deadline=None)
def test_integer_codings_decode_to_whole_numbers_for_the_kernels(data, name):
    coding = CODINGS[name]
    values = np.array(data.draw(st.lists(st.integers(coding.low, coding.high), min_size=1, max_size=40)))
    values[np.flatnonzero(values)[coding.kept(len(values)) :]] = 0
    graph = Graph()
    decoded, length = decode(graph, coding, values, coding.kept(len(values)), is_whole=True)
    graph.node("Add", graph.node("Cast", decoded, to=1), graph.node("Cast", "x", to=1), output="y")
    model = graph.model({"x": ("uint8", (None,))}, {"y": ("float32", (None,))}, {})
    found = session(model).run(None, {"x": np.zeros(1, np.uint8)})[0]
    assert len(found) == length
    np.testing.assert_array_equal(found[: len(values)] * coding.unit, values - coding.offset)
    np.testing.assert_array_equal(found[: len(values)], coding.whole(values))


def test_no_two_products_leave_sixteen_bits():
    """Processors without VNNI add pairs of them there, and saturate."""
    for coding in (coding for coding in CODINGS.values() if coding.is_integer):
        narrow = in_seven_bits(coding)
        ends = [int(narrow.whole(np.array([end]))[0]) for end in (narrow.low, narrow.high)]
        assert 2 * 255 * max(map(abs, ends)) <= 2**15 - 1
        assert narrow.digits == coding.digits


def test_files_hold_integer_operators_that_onnx_runtime_executes_as_such(tmp_path):
    steps = (
        Convolution("a", "x", 1, 8, 3, 1, False, True, "int4", "input", "g"),
        Convolution("b", "a", 8, 8, 3, 1, False, True, "ternary", "g", "g"),
        Convolution("c", "b", 8, 8, 3, 1, False, True, "int8", "g", "g", is_linear=True),
        Addition("d", ("a", "b", "c")),
        Mean("m", "d"),
        Linear("head", "m", 8, 3, "int8", "g"),
    )
    plan = in_integers(Plan(signature_of((1, 6, 6)), steps))
    assert [level.zero for level in levels_of(plan).values()] == [0, 0, 0, 128, 128]
    assert len({level.group for level in levels_of(plan).values()}) == 2
    model = lowered_plan(plan, whole_weights(plan, 0)).model
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (kinds["QLinearConv"], kinds["QLinearAdd"]) == (3, 2)
    assert not {"Conv", "Add", "Mul", "Relu", "Div"} & set(kinds)


def test_changed_codes_do_not_pass_the_gate():
    plan = whole_plan(3)
    weights = whole_weights(plan, 3)
    wrong = dict(weights)
    name = next(step.name for step in plan.weighted)
    wrong[name] = replace(weights[name], codes=np.roll(weights[name].codes, 1) + 0)
    lowered = lowered_plan(plan, weights)
    with pytest.raises(ArtifactError, match=f"weights of {name} in the file are not those"):
        check_parity(plan, wrong, lowered, edge_rows(plan, seed=0), seed=0)


def test_biases_are_whole_numbers_of_the_sums_they_are_added_to():
    step = Convolution("a", "x", 1, 2, 1, 1, False, True, "int2", "input", "a")
    given = Weights(np.array([[[[3]]], [[[0]]]]), np.array([2, -0.5], np.float16), np.array([9, 9], np.float16))
    whole, scale, bias = whole_parts(step, given)
    assert whole.reshape(-1).tolist() == [3, -3]
    assert scale.tolist() == [2, -0.5]
    assert bias.tolist() == [4, -18]  # half to even


def test_networks_with_float_weights_stay_as_they_are():
    plan = Plan(signature_of((1, 6, 6)), (
        Convolution("a", "x", 1, 4, 3, 1, False, True, "float16", "input", "a"), Mean("m", "a"),
        Linear("head", "m", 4, 3, "int8", "a"),
    ))  # fmt: skip
    assert in_integers(plan) is plan
    assert not in_integers(plan).is_integer


def test_activations_are_rounded_to_codes_and_gradients_stop_beyond_them():
    plan = whole_plan(0)
    code = Activations(plan)
    step = next(step for step in plan.weighted if step.name == "stem")
    code(step, torch.tensor([0.0, 25.5]))
    assert code.scale("stem") == pytest.approx(0.1)
    x = torch.tensor([0.04, 0.06, 3.0, 30.0], requires_grad=True)
    found = code(step, x)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.1, 3.0, 25.5]))
    found.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 0]


def test_training_sees_the_codes_that_the_file_computes():
    """Scales and biases are rounded to float16 when the file is written; nothing else differs."""
    plan = whole_plan(11)
    torch.manual_seed(0)
    network = Network(plan)
    network.thin(1.0)
    network.quantize()
    rows = prepared(edge_rows(plan, seed=1), plan.signature).float()
    network.train()
    network(rows)
    network.eval()
    with torch.no_grad():
        off = (network(rows) - run_integer(plan, network.written(), rows)).abs().max()
        assert float(off) < 0.05 * float(network(rows).abs().max())
