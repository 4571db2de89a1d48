import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser
from random_graphs import random_model

from compression.graphs.fold import simplified
from compression.graphs.opset import opset_of, raised
from compression.graphs.shorten import packed_tensor, shortened
from compression.graphs.strip import stripped
from engine.artifact import session
from engine.errors import ArtifactError


def outputs(model, rows, *, optimized=True):
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return session(content, optimized=optimized).run(None, rows)[0]


def written(model):
    return model.SerializeToString(deterministic=True)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_stripped_model_does_the_same_in_fewer_bytes(seed):
    model, rows = random_model(seed)
    onnx.checker.check_model(model)
    small = stripped(model)
    onnx.checker.check_model(small, full_check=True)
    wanted = outputs(model, rows)
    scale = max(1.0, np.abs(wanted).max())
    for optimized in (True, False):
        np.testing.assert_allclose(outputs(small, rows, optimized=optimized) / scale, wanted / scale, atol=2e-5)
    assert small.ByteSize() < model.ByteSize()
    assert written(stripped(small)) == written(small)
    operators = {node.op_type for node in small.graph.node}
    assert not operators & {"Constant", "Dropout"}
    assert {value.name for value in [*small.graph.input, *small.graph.output]} == {"image input", "the scores"}
    assert [(entry.key, entry.value) for entry in small.metadata_props] == [("classes", '["a", "b", "c", "d", "e"]')]
    for text in (b"somebody", b"nobody", b"made by hand", b"/model/", b"pixels"):
        assert text not in written(small)


def model_of(body, head="float[N, 4] x", tail="float[N, 4] y", opset=17, values=""):
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> net ({head}) => ({tail}) {values} {{{body}}}'
    )


def test_sizes_measured_and_joined_become_zeros():
    model = model_of(
        "s = Shape(x) i = Constant<value = int64 {0}>() n = Gather(s, i) a = Constant<value_ints = [0]>() "
        "u = Unsqueeze(n, a) r = Constant<value_ints = [-1]>() t = Concat<axis = 0>(u, r) y = Reshape(x, t)",
        head="float[N, 2, 3] x",
        tail="float[N, 6] y",
    )
    small = stripped(model)
    assert [node.op_type for node in small.graph.node] == ["Reshape"]
    assert numpy_helper.to_array(small.graph.initializer[0]).tolist() == [0, -1]
    rows = {"x": np.arange(12, dtype=np.float32).reshape(2, 2, 3)}
    np.testing.assert_array_equal(outputs(small, rows), outputs(model, rows))


def test_equal_tensors_are_written_once_and_whole_numbers_as_varints():
    model = model_of(
        "a = Add(x, p) b = Add(a, q) y = Reshape(b, s)",
        values="<float[4] p = {1, 2, 3, 4}, float[4] q = {1, 2, 3, 4}, int64[2] s = {-1, 4}>",
    )
    small = stripped(model)
    assert len(small.graph.initializer) == 2
    assert packed_tensor("s", np.array([3, 300])).ByteSize() < packed_tensor("s", np.array([-1, -1])).ByteSize()


def test_coded_weights_stay_coded():
    codes = ", ".join(["7"] * 16)
    model = model_of(
        "f = Cast<to = 1>(w) v = Mul(f, k) y = MatMul(x, v)",
        values=f"<int8[4, 4] w = {{{codes}}}, float k = {{0.5}}>",
    )
    assert written(stripped(model)).count(bytes([7] * 16)) == 1


def test_training_dropout_and_shared_normalisation_inputs_stay():
    both = model_of(
        "c = Conv(x, w) n = BatchNormalization(c, s, s, s, s) y = Add(n, c)",
        head="float[N, 2, 3, 3] x",
        tail="float[N, 2, 3, 3] y",
        values="<float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] s = {1, 2}>",
    )
    assert "BatchNormalization" in {node.op_type for node in stripped(both).graph.node}
    training = model_of("y = Dropout(x, r, t)", values="<float r = {0.5}, bool t = {1}>")
    assert [node.op_type for node in stripped(training).graph.node] == ["Dropout"]


def test_inner_graphs_and_the_values_that_they_read_stay():
    model = model_of(
        "long_name = Neg(x) unused = Neg(x) p = ReduceSum<keepdims = 0>(x) z = Constant<value = float {0}>() "
        "b = Greater(p, z) y = If(b) <then_branch = a () => (float[N, 4] t) {t = Neg(long_name)}, "
        "else_branch = e () => (float[N, 4] f) {f = Identity(long_name)}>"
    )
    small = stripped(model)
    for sign in (1, -1):
        rows = {"x": np.full((2, 4), sign, np.float32)}
        np.testing.assert_array_equal(outputs(small, rows), outputs(model, rows))


def test_local_functions_stay_and_unused_ones_go():
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "own" : 1]> net (float[N] x) => (float[N] y) { y = own.twice(x) } '
        '<domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) } '
        '<domain: "own", opset_import: ["" : 17]> never (a) => (b) { b = Neg(a) }'
    )
    small = stripped(model)
    assert [function.name for function in small.functions] == ["twice"]
    assert outputs(small, {"x": np.ones(3, np.float32)}).tolist() == [2, 2, 2]
    assert opset_of(raised(small, 21)) == 21


def test_names_of_all_values_that_are_left_are_told():
    model, _ = random_model(3)
    small, names = shortened(simplified(model))
    made = {name for node in small.graph.node for name in node.output}
    assert made <= set(names.values())
    assert all(len(name) <= 2 for name in set(names.values()) - {"image input", "the scores"})


def test_an_operator_that_changed_is_converted_and_one_that_cannot_be_is_named():
    reduced = model_of("y = ReduceMean<axes = [1], keepdims = 1>(x)", tail="float[N, 1] y", opset=13)
    rows = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    np.testing.assert_allclose(outputs(raised(reduced, 21), rows), outputs(reduced, rows))
    odd = model_of("y = Unheard(x)")
    with pytest.raises(ArtifactError, match=r"opset 17 and the codings asked for need 21; Unheard cannot be moved"):
        raised(odd, 21)


@pytest.mark.parametrize("opset", [13, 17, 20, 22])
def test_the_lowest_opset_is_one_in_which_every_node_has_its_definition(opset):
    model = model_of("y = Relu(x)", opset=opset)
    small = stripped(model)
    assert opset_of(small) == min(opset, 14 if opset > 13 else 13)
    assert small.ir_version <= 8
