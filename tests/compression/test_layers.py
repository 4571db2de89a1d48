import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import NAMED, random_plan, random_weights, signature_of

from compression.nets.layers import Lowered, empty_weights, lower
from compression.nets.memory import macs, peak_memory
from compression.nets.network import Network, run
from compression.nets.plan import Convolution, Linear, Mean, Plan, Pooling, Rescaling
from compression.nets.train import prepared
from compression.nets.verify import check_parity, check_reference, edge_rows
from engine.artifact import Artifact, session
from engine.data import Signature
from engine.errors import ArtifactError
from engine.guard import checked_model


@given(seed=st.integers(0, 10_000), batch=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_random_networks_do_in_onnx_runtime_what_they_do_in_torch(seed, batch):
    plan = random_plan(seed)
    weights = random_weights(plan, seed)
    lowered = lower(plan, weights)
    onnx.checker.check_model(onnx.load_model_from_string(lowered.model), full_check=True)
    checked_model(lowered.model)
    x = edge_rows(plan, seed=seed)[:batch]
    assert check_parity(plan, weights, lowered, x, seed=seed).flips == 0
    assert len(lowered.model) == len(lower(plan, empty_weights(plan)).model)
    found = Artifact(lowered.model).outputs({"x": x})
    assert found.shape == (batch, plan.signature.outputs)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_a_second_engine_agrees():
    for seed in range(5):
        plan = random_plan(seed)
        assert check_reference(plan, lower(plan, random_weights(plan, seed)), edge_rows(plan, seed=0)) < 1e-4


@pytest.mark.parametrize(("pooling", "has_reference"), [("average", True), ("max", False)])
def test_values_pass_the_same_gate_as_classes(pooling, has_reference):
    signature = Signature("signals", "regression", (2, 9), "float32", (), 0.5, 2.0)
    steps = (
        Convolution("a", "x", 2, 4, 3, 1, False, True, "int4", "input", "g"),
        Pooling("p", "a", pooling),
        Mean("m", "p"),
        Linear("l", "m", 4, 1, "int8", "g"),
        Rescaling("v", "l", center=50.0, spread=20.0),
    )
    plan = Plan(signature, steps)
    weights = random_weights(plan, 0)
    lowered, rows = lower(plan, weights), edge_rows(plan, seed=0)
    parity = check_parity(plan, weights, lowered, rows, seed=0)
    assert parity.flips is None
    assert parity.difference < 1e-5
    assert (check_reference(plan, lowered, rows) is not None) == has_reference
    model = onnx.load_model_from_string(lowered.model)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Neg"
    with pytest.raises(ArtifactError, match="values differ by up to"):
        check_parity(plan, weights, Lowered(model.SerializeToString(), lowered.parts), rows, seed=0)


def test_one_changed_weight_is_caught_by_the_gate():
    plan = random_plan(3)
    weights = random_weights(plan, 3)
    lowered = lower(plan, weights)
    first = plan.weighted[0].name
    weights[first].codes.reshape(-1)[0] += 1 if weights[first].codes.reshape(-1)[0] <= 0 else -1
    with pytest.raises(ArtifactError, match=f"weights of {first} in the file are not those"):
        check_parity(plan, weights, lowered, edge_rows(plan, seed=0), seed=0)


def test_a_file_with_the_right_weights_and_another_graph_is_caught_by_the_gate():
    plan = random_plan(5)
    weights = random_weights(plan, 5)
    lowered = lower(plan, weights)
    model = onnx.load_model_from_string(lowered.model)
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        node.op_type = "Neg" if node.op_type == "Relu" else node.op_type
    changed = Lowered(model.SerializeToString(), lowered.parts)
    with pytest.raises(ArtifactError, match="does not do what the network does"):
        check_parity(plan, weights, changed, edge_rows(plan, seed=0), seed=0)


def test_class_names_are_metadata_and_plain_numbers_cost_nothing():
    numbered, named = random_plan(1), random_plan(1, classes=NAMED)
    sizes = [len(lower(plan, empty_weights(plan)).model) for plan in (numbered, named)]
    assert sizes[1] > sizes[0]
    assert Artifact(lower(named, empty_weights(named)).model).classes == NAMED
    assert Artifact(lower(numbered, empty_weights(numbered)).model).classes == ("0", "1", "2")


def test_container_overhead_is_at_most_75_bytes_a_node():
    for seed in range(20):
        plan = random_plan(seed)
        model = lower(plan, empty_weights(plan)).model
        parsed = onnx.load_model_from_string(model)
        payload = sum(len(tensor.raw_data) for tensor in parsed.graph.initializer)
        nodes = len(parsed.graph.node) + sum(len(function.node) for function in parsed.functions)
        assert (len(model) - payload) / nodes <= 75


@pytest.mark.parametrize("coding", ["float32", "float16", "int8", "int4"])
def test_a_file_of_seven_nodes_takes_at_most_600_bytes_beside_its_weights(coding):
    classes = tuple(str(number) for number in range(10))
    steps = (
        Convolution("a", "x", 1, 8, 3, 1, False, True, coding, "input", "g"),
        Convolution("b", "a", 8, 16, 3, 2, False, True, coding, "g", "h"),
        Mean("m", "b"),
        Linear("l", "m", 16, 10, coding, "h"),
    )
    plan = Plan(signature_of((1, 8, 8), classes=classes), steps)
    weights = random_weights(plan, 0)
    lowered = lower(plan, weights)
    payload = sum(len(tensor.raw_data) for tensor in onnx.load_model_from_string(lowered.model).graph.initializer)
    assert len(lowered.model) - payload <= 600
    assert check_parity(plan, weights, lowered, edge_rows(plan, seed=0), seed=0).flips == 0


def test_decoding_is_folded_when_the_file_is_opened(tmp_path):
    import onnxruntime

    plan = random_plan(2)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(lower(plan, random_weights(plan, 2)).model, options)
    left = {node.op_type for node in onnx.load_model(tmp_path / "folded.onnx").graph.node}
    assert not left & {"Mul", "Mod", "Split", "Reshape", "CumSum", "Gather", "Sub", "Transpose"}


def test_wrong_shape_is_refused_with_both_shapes():
    artifact = Artifact(lower(random_plan(1), empty_weights(random_plan(1))).model)
    with pytest.raises(ArtifactError, match="must have shape N x 2 x 6 x 6, got 4 x 2 x 5 x 5"):
        artifact.outputs({"x": np.zeros((4, 2, 5, 5), np.uint8)})


def test_training_network_and_written_weights_agree_after_folding():
    plan = random_plan(7)
    torch.manual_seed(0)
    network = Network(plan)
    x = prepared(edge_rows(plan, seed=1), plan.signature).float()
    network.train()
    for _ in range(30):
        network(x)
    network.quantize()
    network.eval()
    with torch.no_grad():
        expected = torch.softmax(network(x), 1)
    found = torch.softmax(run(plan, network.written(), x), 1)
    assert float((expected - found).abs().max()) < 0.02  # float16 scales are the only difference


def test_memory_and_operations_of_a_known_network():
    signature = signature_of((1, 4, 4), classes=("a", "b"))
    steps = (
        Convolution("a", "x", 1, 3, 3, 2, False, True, "int8", "input", "g"),
        Mean("m", "a"),
        Linear("l", "m", 3, 2, "int8", "g"),
    )
    plan = Plan(signature, steps)
    assert macs(plan) == 27 * 4 + 6
    assert plan.parameters == 27 + 3 + 6 + 2
    assert peak_memory(plan) == 4 * (38 + 16 + 12)


def test_files_open_without_any_option():
    import onnxruntime

    for seed in range(4):
        plan = random_plan(seed)
        model = lower(plan, random_weights(plan, seed)).model
        rows = edge_rows(plan, seed=0)
        plain = onnxruntime.InferenceSession(model).run(None, {"x": rows})[0]
        np.testing.assert_allclose(plain, session(model).run(None, {"x": rows})[0], atol=1e-6)
