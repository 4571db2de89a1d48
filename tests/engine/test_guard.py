"""The guard: whatever bytes come, they are either a model of plain operators or an ArtifactError."""

import re

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from engine import guard, operators
from engine.artifact import Artifact
from engine.errors import ArtifactError
from engine.guard import MAX_DEPTH, MAX_ELEMENTS, checked_model

OPSET = 19


def model_of(*nodes, constants=(), functions=(), domains=()):
    graph = helper.make_graph(
        nodes or [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)


def function_of(name, *nodes, domain="l", **options):
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("l", 1)]
    return helper.make_function(domain, name, ["x"], ["y"], nodes, opsets, **options)


def external(location):
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph_of(*tensors, nodes=()):
    return helper.make_graph(nodes, "inner", [], [helper.make_tensor_value_info("w", 1, [4])], tensors)


def with_attribute(attribute):
    node = helper.make_node("Relu", ["x"], ["y"])
    node.attribute.append(attribute)
    return model_of(node)


def sparse_of(values, indices=None, dims=(4,)):
    indices = indices or numpy_helper.from_array(np.array([0], np.int64), "i")
    return onnx.SparseTensorProto(values=values, indices=indices, dims=dims)


def bomb(operator, *inputs, opset=OPSET, **attributes):
    """A file of a few hundred bytes that makes one huge tensor of small ones."""
    constants = [numpy_helper.from_array(np.asarray(value), f"i{n}") for n, value in enumerate(inputs)]
    made = model_of(
        helper.make_node(operator, [constant.name for constant in constants], ["w"], **attributes),
        helper.make_node("ReduceMax", ["w"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
        constants=constants,
    )
    made.opset_import[0].version = opset
    return made


def refused(model, text):
    with pytest.raises(ArtifactError, match=text):
        checked_model(model.SerializeToString())


SMALL = model_of(
    helper.make_node("MatMul", ["x", "w"], ["m"]),
    helper.make_node("Softmax", ["m"], ["y"], axis=1),
    constants=[numpy_helper.from_array(np.ones((4, 2), np.float32), "w")],
).SerializeToString()


def test_a_plain_model_passes_unchanged():
    assert checked_model(SMALL).SerializeToString() == SMALL


def test_operators_for_machine_learning_and_local_functions_pass():
    checked_model(
        model_of(
            helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]),
            helper.make_node("F", ["s"], ["y"], domain="l"),
            functions=[function_of("F", helper.make_node("Relu", ["x"], ["y"]))],
            domains=["ai.onnx.ml", "l"],
        ).SerializeToString()
    )


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd", ""])
def test_weights_in_another_file_are_refused(location):
    refused(model_of(constants=[external(location)]), r"The model is refused: tensor w lies in another file\.")


def test_a_location_without_the_flag_is_refused():
    tensor = external("weights.bin")
    tensor.data_location = TensorProto.DEFAULT
    refused(model_of(constants=[tensor]), r"tensor w lies in another file")


@pytest.mark.parametrize(
    "model",
    [
        with_attribute(AttributeProto(name="v", type=AttributeProto.TENSOR, t=external("w.bin"))),
        with_attribute(AttributeProto(name="v", type=AttributeProto.TENSORS, tensors=[external("w.bin")])),
        with_attribute(
            AttributeProto(name="v", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse_of(external("w.bin")))
        ),
        with_attribute(
            AttributeProto(name="v", type=AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse_of(external("w.bin"))])
        ),
        with_attribute(
            helper.make_attribute("v", graph_of(external("w.bin"), nodes=[helper.make_node("Relu", ["w"], ["z"])]))
        ),
        with_attribute(
            helper.make_attribute("v", [graph_of(external("w.bin"), nodes=[helper.make_node("Relu", ["w"], ["z"])])])
        ),
        model_of(
            helper.make_node("F", ["x"], ["y"], domain="l"),
            functions=[
                function_of(
                    "F",
                    helper.make_node("Constant", [], ["w"], value=external("w.bin")),
                    helper.make_node("Add", ["x", "w"], ["y"]),
                )
            ],
            domains=["l"],
        ),
    ],
    ids=["tensor", "tensors", "sparse", "sparses", "graph", "graphs", "function"],
)
def test_weights_in_another_file_are_found_in_attributes_and_functions(model):
    refused(model, r"tensor w lies in another file")


@pytest.mark.parametrize("side", ["values", "indices"])
def test_sparse_weights_in_another_file_are_refused(side):
    inside = numpy_helper.from_array(np.ones(1, np.float32), "v")
    parts = (external("w.bin"), None) if side == "values" else (inside, external("w.bin"))
    model = model_of()
    model.graph.sparse_initializer.append(sparse_of(*parts))
    refused(model, r"tensor w lies in another file")


def test_weights_in_another_file_are_found_in_a_graph_without_nodes():
    refused(with_attribute(helper.make_attribute("v", graph_of(external("w.bin")))), r"lies in another file")


def test_weights_in_another_file_are_found_in_defaults_of_a_function():
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.add(name="value", ref_attr_name="v", type=AttributeProto.TENSOR)
    function = function_of(
        "F",
        constant,
        helper.make_node("Add", ["x", "w"], ["y"]),
        attribute_protos=[helper.make_attribute("v", external("w.bin"))],
    )
    call = helper.make_node("F", ["x"], ["y"], domain="l")
    refused(model_of(call, functions=[function], domains=["l"]), r"lies in another file")


def test_weights_in_another_file_are_found_in_training_graphs():
    model = model_of()
    model.training_info.add().algorithm.initializer.append(external("w.bin"))
    refused(model, r"lies in another file|training")


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.training", "ai.onnx.preview.training", "mine"])
def test_foreign_operators_are_refused(domain):
    model = model_of(helper.make_node("Mine", ["x"], ["y"], domain=domain), domains=[domain])
    refused(model, rf"operator {domain}\.Mine is not a standard one")


def test_foreign_operators_inside_local_functions_and_graphs_are_refused():
    foreign = helper.make_node("Mine", ["x"], ["y"], domain="mine")
    call = helper.make_node("F", ["x"], ["y"], domain="l")
    refused(model_of(call, functions=[function_of("F", foreign)], domains=["l"]), r"operator mine\.Mine")
    refused(with_attribute(helper.make_attribute("v", graph_of(nodes=[foreign]))), r"operator mine\.Mine")


@pytest.mark.parametrize("operator", sorted(operators.REFUSED))
def test_operators_that_take_any_amount_of_memory_or_time_are_refused(operator):
    refused(
        model_of(helper.make_node(operator, ["x"], ["y"])),
        rf"operator {operator} {re.escape(operators.REFUSED[operator])}; export the model without it",
    )


def test_a_bomb_of_a_few_bytes_is_refused_before_a_session_opens(tmp_path):
    path = tmp_path / "model.onnx"
    content = bomb("ConstantOfShape", np.array([2**40], np.int64)).SerializeToString()
    path.write_bytes(content)
    assert len(content) < 200
    with pytest.raises(ArtifactError, match=r"model\.onnx is refused: value w would have 1099511627776 elements"):
        Artifact.load(path)


@pytest.mark.parametrize(
    "model",
    [
        bomb("HannWindow", np.array(2**40)),
        bomb("HammingWindow", np.array(2**40)),
        bomb("BlackmanWindow", np.array(2**40)),
        bomb("MelWeightMatrix", np.array(2**20), np.array(2**24), np.array(8000), np.float32(0), np.float32(4000)),
        bomb("AffineGrid", np.ones((1, 2, 3), np.float32), np.array([1, 1, 2**20, 2**20]), opset=20),
    ],
    ids=["hann", "hamming", "blackman", "mel", "affine"],
)
def test_other_operators_that_allocate_by_value_are_refused(model):
    refused(model, r"can take any amount of memory")


@pytest.mark.parametrize(
    "model",
    [
        model_of(
            *(helper.make_node("Concat", [f"a{n}", f"a{n}"], [f"a{n + 1}"], axis=0) for n in range(40)),
            helper.make_node("ReduceMax", ["a40"], ["s"], keepdims=0),
            helper.make_node("Add", ["x", "s"], ["y"]),
            constants=[numpy_helper.from_array(np.ones(1, np.float32), "a0")],
        ),
        bomb("Conv", np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32), pads=[2**20] * 4),
    ],
    ids=["doubling", "padding"],
)
def test_small_constants_that_plain_operators_blow_up_are_refused(model):
    refused(model, r"elements|memory")


def test_a_local_function_does_not_hide_a_refused_operator():
    inner = helper.make_node("ConstantOfShape", ["x"], ["y"])
    call = helper.make_node("F", ["x"], ["y"], domain="l")
    refused(model_of(call, functions=[function_of("F", inner)], domains=["l"]), r"operator ConstantOfShape can take")


def test_a_local_function_must_not_stand_for_a_standard_operator():
    function = function_of("Loop", helper.make_node("Relu", ["x"], ["y"]), domain="")
    refused(model_of(functions=[function]), r"local function Loop hides a standard operator")


@pytest.mark.parametrize("circle", [1, 2, 5])
def test_local_functions_that_call_themselves_are_refused(circle):
    functions = [
        function_of(f"F{n}", helper.make_node(f"F{(n + 1) % circle}", ["x"], ["y"], domain="l")) for n in range(circle)
    ]
    model = model_of(helper.make_node("F0", ["x"], ["y"], domain="l"), functions=functions, domains=["l"])
    refused(model, rf"local functions that call each other deeper than {MAX_DEPTH}, or in a circle")


def test_local_functions_may_call_each_other_a_few_times():
    functions = [function_of("F0", helper.make_node("Relu", ["x"], ["y"]))]
    functions += [
        function_of(f"F{n}", helper.make_node(f"F{n - 1}", ["x"], ["y"], domain="l")) for n in range(1, MAX_DEPTH)
    ]
    call = helper.make_node(f"F{MAX_DEPTH - 1}", ["x"], ["y"], domain="l")
    checked_model(model_of(call, functions=functions, domains=["l"]).SerializeToString())


def test_graphs_nested_too_deep_are_refused():
    inner = graph_of(nodes=[helper.make_node("Relu", ["x"], ["z"])])
    for _ in range(MAX_DEPTH + 1):
        node = helper.make_node("Relu", ["x"], ["z"])
        node.attribute.append(helper.make_attribute("v", inner))
        inner = graph_of(nodes=[node])
    refused(with_attribute(helper.make_attribute("v", inner)), rf"sub-graphs deeper than {MAX_DEPTH}")


def test_a_message_nested_a_thousand_times_does_not_parse():
    content = b""
    for _ in range(1000):  # graph > node > attribute > graph > ...
        for tag in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            content = bytes([tag]) + _varint(len(content)) + content
    with pytest.raises(ArtifactError, match=r"is not an ONNX file: it does not parse"):
        checked_model(b"\x3a" + _varint(len(content)) + content)


def _varint(number):
    made = bytearray()
    while True:
        number, low = number >> 7, number & 127
        made.append(low | (128 if number else 0))
        if not number:
            return bytes(made)


@pytest.mark.parametrize("dims", [[-1], [4, -2], [MAX_ELEMENTS + 1], [2**40, 2**40], [2**62, 2**62, 2**62]])
def test_shapes_no_file_needs_are_refused(dims):
    tensor = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT)
    text = rf"tensor w has shape \[{', '.join(map(str, dims))}\]"
    refused(model_of(constants=[tensor]), text)
    refused(with_attribute(AttributeProto(name="v", type=AttributeProto.TENSOR, t=tensor)), text)


@pytest.mark.parametrize("dims", [[2, -1], [MAX_ELEMENTS + 1], [2**40, 2**40]])
def test_sparse_tensors_whose_decoded_shape_no_file_needs_are_refused(dims):
    model = model_of()
    model.graph.sparse_initializer.append(sparse_of(numpy_helper.from_array(np.ones(1, np.float32), "v"), dims=dims))
    refused(model, rf"sparse tensor v has shape \[{', '.join(map(str, dims))}\]")


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (TensorProto(name="w", dims=[4], data_type=1, raw_data=b"1234567"), r"holds 7 values or bytes, .* needs 16"),
        (TensorProto(name="w", dims=[4], data_type=1, float_data=[1.0]), r"holds 1 values or bytes, .* needs 4"),
        (TensorProto(name="w", dims=[3], data_type=22, raw_data=b"1"), r"holds 1 values or bytes, .* needs 2"),
        (TensorProto(name="w", dims=[1], data_type=1, raw_data=b"1234", float_data=[1.0]), r"holds its values twice"),
        (TensorProto(name="w", dims=[1], data_type=99, raw_data=b"1"), r"elements of type 99, which is none"),
        (TensorProto(name="w", dims=[1], data_type=8, string_data=[b"a" * 70_000]), r"a text of more than 65536"),
        (TensorProto(name="w", dims=[1] * 17, data_type=1, float_data=[1.0]), r"tensor w has shape \[1, 1"),
    ],
)
def test_tensors_that_are_not_what_they_say_are_refused(tensor, text):
    refused(model_of(constants=[tensor]), text)


def test_long_texts_are_refused():
    refused(
        with_attribute(helper.make_attribute("v", "a" * 70_000)), r"attribute v has a text of more than 65536 bytes"
    )
    refused(model_of(helper.make_node("Relu", ["x"], ["y"], name="n" * 5000)), r"a name of more than 4096 characters")
    model = model_of()
    model.metadata_props.add(key="classes", value="a" * (2**20 + 1))
    refused(model, r"its metadata is longer than 1048576 characters")


def test_functions_that_write_out_to_too_many_nodes_are_refused():
    names = [f"F{n}" for n in range(6)]
    bodies = {
        name: [helper.make_node(callee, [f"b{k - 1}" if k else "x"], [f"b{k}" if k < 19 else "y"], domain=domain)
               for k in range(20)]
        for name, callee, domain in zip(names, [*names[1:], "Relu"], ["l"] * 5 + [""], strict=True)
    }  # fmt: skip
    functions = [function_of(name, *nodes) for name, nodes in bodies.items()]
    call = helper.make_node("F0", ["x"], ["y"], domain="l")
    refused(model_of(call, functions=functions, domains=["l"]), r"64000000 nodes, at most 100000 are read")


def test_two_functions_of_one_name_and_functions_in_known_domains_are_refused():
    function = function_of("F", helper.make_node("Relu", ["x"], ["y"]))
    refused(model_of(functions=[function, function], domains=["l"]), r"two local functions have one name")
    for domain in ("ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"):
        named = function_of("Gelu", helper.make_node("Relu", ["x"], ["y"]), domain=domain)
        refused(model_of(functions=[named], domains=[domain]), r"local function Gelu hides a standard operator")


def test_a_graph_in_an_operator_that_takes_none_is_refused():
    inner = graph_of(nodes=[helper.make_node("Relu", ["x"], ["z"])])
    refused(with_attribute(helper.make_attribute("v", inner)), r"operator Relu holds a graph")


def test_what_shape_inference_does_not_survive_is_refused_before_it():
    split = helper.make_node("Split", ["x"], ["y", "a", "b"], axis=1, num_outputs=2)
    refused(model_of(split), r"operator Split says that it has 2 outputs and has 3")
    einsum = helper.make_node("Einsum", ["x", "x"], ["y"], equation="\x01\xff")
    refused(model_of(einsum), r"operator Einsum has an equation that is none")
    encoder = helper.make_node("LabelEncoder", ["z"], ["y"], domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1])
    refused(model_of(encoder, domains=["ai.onnx.ml"]), r"it is not a valid model: .*'z' of node")


def test_a_tensor_without_a_name_is_told_as_such():
    refused(model_of(constants=[TensorProto(dims=[-1])]), r"tensor \(unnamed\) has shape \[-1\]")


def test_too_many_nodes_are_refused(monkeypatch):
    monkeypatch.setattr(guard, "MAX_NODES", 5)
    nodes = [helper.make_node("Relu", ["x"], ["y"]) for _ in range(6)]
    refused(model_of(*nodes), r"6 nodes, at most 5 are read")


def test_everything_that_is_wrong_is_told_at_once():
    nodes = [helper.make_node("Loop", ["x"], ["y"]), helper.make_node("Mine", ["x"], ["z"], domain="mine")]
    with pytest.raises(ArtifactError) as caught:
        checked_model(model_of(*nodes, constants=[external("w")]).SerializeToString(), name="theirs.onnx")
    assert str(caught.value) == (
        "theirs.onnx is refused: operator Loop can take any amount of memory or time; export the model without it; "
        "operator mine.Mine is not a standard one; export the model with standard operators; "
        "tensor w lies in another file."
    )


def test_more_than_ten_problems_are_counted():
    nodes = [helper.make_node(f"Mine{n}", ["x"], ["y"], domain="mine") for n in range(14)]
    refused(model_of(*nodes), r"; and 4 more\.$")


def test_what_has_no_graph_is_no_model():
    for model in (onnx.ModelProto(), onnx.ModelProto(ir_version=9), helper.make_model(graph_of())):
        refused(model, r"The model is not an ONNX file with a graph: it has no nodes or no outputs\.")
