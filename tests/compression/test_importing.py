"""Reading ONNX files into torch: the same outputs as ONNX Runtime, and clear words where that is impossible."""

import io

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser
from small_nets import random_plan, random_weights
from torch_nets import NETS, exported, made, rows_for

from compression.modules.importing import read_network
from compression.nets.layers import lower
from compression.nets.verify import edge_rows
from engine.artifact import session
from engine.errors import ArtifactError


def outputs(content, x):
    opened = session(content)
    return opened.run(None, {opened.get_inputs()[0].name: x})[0]


def check_same(content, x, tolerance=1e-4):
    """The file, the imported network and the file written back agree."""
    expected = outputs(content, x)
    network = read_network(content)
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))
    again = outputs(network.to_model().SerializeToString(), x)
    np.testing.assert_allclose(again, expected, atol=tolerance * max(1, np.abs(expected).max()))
    return network


@pytest.mark.parametrize("seed", range(15))
def test_our_own_files(seed):
    plan = random_plan(seed)
    lowered = lower(plan, random_weights(plan, seed))
    network = check_same(lowered.model, edge_rows(plan, seed=seed))
    assert len(network.layers) == len(plan.weighted)
    assert {network.tensor(layer.weight).numel() for layer in network.layers} == {
        plan.count(step) for step in plan.weighted
    }


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("options", [{}, {"training": True}, {"opset": 11}, {"opset": 20}], ids=str)
def test_files_of_the_torch_exporter(name, options):
    net, x = made(name), rows_for(name)
    network = check_same(exported(net, x, **options), x)
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach(), net(torch.from_numpy(x)).detach(), atol=1e-4)
    assert not [operation for operation in network.operations if operation.operator in ("Shape", "Gather", "Identity")]


@pytest.mark.parametrize("name", NETS)
def test_a_fixed_batch_is_freed(name):
    net, x = made(name), rows_for(name)
    network = read_network(exported(net, x, fixed_batch=True))
    expected = net(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach(), expected, atol=1e-4)
    np.testing.assert_allclose(outputs(network.to_model().SerializeToString(), x), expected, atol=1e-4)


def test_the_newer_exporter_of_torch():
    pytest.importorskip("onnxscript")
    net, x = made("residual"), rows_for("residual")
    target = io.BytesIO()
    torch.onnx.export(net, (torch.from_numpy(x),), dynamo=True).save(target)
    check_same(target.getvalue(), x)


def single(operator, x, tensors, **attributes):
    """A file of one node."""
    names = [name or "" for name in tensors]
    node = helper.make_node(operator, ["x", *names], ["y"], name="only", **attributes)
    given = [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items() if name]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *x.shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        given,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_windows_of_every_kind(data):
    draw = data.draw
    axes = draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    strides = [draw(st.integers(1, 3)) for _ in range(axes)]
    operator = draw(st.sampled_from(["Conv", "Conv", "ConvTranspose", "MaxPool", "AveragePool"]))
    group = draw(st.sampled_from([1, 2, 4]))
    x = rng.normal(size=(2, 4, *[9] * axes)).astype(np.float32)
    attributes = {"kernel_shape": kernel, "strides": strides}
    pads = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if pads.startswith("SAME"):  # ONNX Runtime knows no negative pads
        attributes["strides"] = [min(stride, size) for stride, size in zip(strides, kernel, strict=True)]
    elif operator in ("Conv", "MaxPool"):
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(axes)]
    if pads == "NOTSET":
        reach = [k if operator != "ConvTranspose" else 1 for k in kernel]
        attributes["pads"] = [draw(st.integers(0, max(0, k - 1))) for k in reach * 2]
    else:
        attributes["auto_pad"] = pads
    tensors = {}
    if operator.startswith("Conv"):
        attributes["group"] = group
        shape = (6 * group, 4 // group) if operator == "Conv" else (4, 3)
        tensors["w"] = rng.normal(size=(*shape, *kernel)).astype(np.float32)
        if draw(st.booleans()):
            channels = shape[0] if operator == "Conv" else 3 * group
            tensors["b"] = rng.normal(size=channels).astype(np.float32)
    if operator == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    check_same(single(operator, x, tensors, **attributes), x)


@pytest.mark.parametrize(
    ("operator", "tensors", "attributes"),
    [
        ("Resize", {"": None, "s": np.array([1, 1, 2, 3], np.float32)}, {"mode": "nearest"}),
        (
            "Resize",
            {"": None, "s": np.array([1, 1, 1.5, 0.7], np.float32)},
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        ),
        ("Pad", {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3])}, {"mode": "reflect"}),
        ("Pad", {"p": np.array([0, 1, 1, 0, 0, 0, 2, 1]), "v": np.array(0.5, np.float32)}, {}),
        ("Pad", {"p": np.array([1, 2, 0, 1]), "": None, "a": np.array([2, 3])}, {"mode": "edge"}),
        ("Slice", {"s": np.array([3, -1]), "e": np.array([0, -9]), "a": np.array([2, 3]), "t": np.array([-1, -2])}, {}),
        ("ReduceMean", {"a": np.array([2, 3])}, {"keepdims": 0}),
        ("ReduceMean", {}, {}),
        ("HardSigmoid", {}, {"alpha": 0.3, "beta": 0.4}),
        ("Clip", {"l": np.array(-0.5, np.float32)}, {}),
        ("PRelu", {"s": np.full((4, 1, 1), 0.2, np.float32)}, {}),
        ("Softmax", {}, {"axis": 1}),
        ("Transpose", {}, {}),
        ("GlobalMaxPool", {}, {}),
    ],
)
def test_single_operators(operator, tensors, attributes):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    check_same(single(operator, x, tensors, **attributes), x)


def model_of(text):
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


def test_the_first_unknown_operator_is_named():
    model = model_of("g (float[N, 4] x) => (float[N, 4] y) { a = Relu(x) b = Sinh(a) y = Cosh(b) }")
    model.graph.node[1].name = "layer/sinh"
    with pytest.raises(ArtifactError, match=r"first operator .* Sinh \(node 'layer/sinh'\) \(and later Cosh\)"):
        read_network(model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { y = Add(x, z) }", "one input, got 2: x, z"),
        ("g (float[N, M] x) => (float[N, M] y) { y = Relu(x) }", "open sizes"),
        (
            "g (float[N, 4] x) => (float[N, 1] y) <float[2, 1] w = {1., 2.}> { y = MatMul(x, w) }",
            r"MatMul .* cannot be done in torch on inputs \[\(2, 4\), \(2, 1\)\]",
        ),
        ("g (float[N, 1, 4, 4] x) => (float[N, 1, 8, 8] y) <float[4] s = {1., 1., 2., 2.}> "
         "{ y = Resize<mode='linear'>(x, , s) }".replace("'", '"'), "mode nearest"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(text, message):
    with pytest.raises(ArtifactError, match=message):
        read_network(model_of(text))


def test_what_is_no_model_is_told():
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        read_network(b"\xff\xff not a model")


def test_open_sizes_are_given():
    model = model_of("g (float[N, M] x) => (float[N, M] y) { y = Relu(x) }")
    assert read_network(model, shape=(3,))(-torch.ones(1, 3)).tolist() == [[0.0, 0.0, 0.0]]


def test_gradients_reach_every_trained_tensor_and_training_moves_running_statistics():
    net, x = made("residual"), rows_for("residual")
    network = read_network(exported(net, x, training=True)).train()
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    torch.autograd.backward(network(torch.from_numpy(x)).square().sum())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert len(list(network.parameters())) == len(list(net.parameters()))
    assert any(not torch.equal(value, buffers[name]) for name, value in network.named_buffers())
