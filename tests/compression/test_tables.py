import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

from compression.tables import TableColumns, TableGraph, columns_of
from engine.artifact import Artifact, session
from engine.errors import ArtifactError, DataError


def test_columns_find_their_inputs_and_missing_values_have_one_form():
    frame = pd.DataFrame(
        {
            "town": ["Ulm", None, ""],
            "age": [1, 2, 3],
            "grade": pd.Categorical([3.0, np.nan, 1.0]),
            "pay": [1.5, np.nan, np.inf],
            "ok": [True, False, True],
        }
    )
    columns = columns_of(frame)
    assert (columns.numeric, columns.categorical) == (("age", "pay"), ("town", "grade", "ok"))
    assert [columns.place(column) for column in range(5)] == [0, 0, 1, 1, 2]
    made = columns.inputs(frame)
    assert made["x"].dtype == np.float32
    np.testing.assert_array_equal(made["x"], np.float32([[1, 1.5], [2, np.nan], [3, np.inf]]))
    assert made["c"].tolist() == [["Ulm", "3", "True"], ["", "", "False"], ["", "1", "True"]]


def test_arrays_have_no_names_unless_they_are_given_some():
    assert columns_of(np.zeros((2, 2))).metadata(["0", "1"]) == {}
    assert columns_of(np.zeros((2, 2)), ["a", "b"]).metadata(None) == {"task": "regression", "numeric": ["a", "b"]}
    mixed = np.array([["Ulm", 1.0], ["Bonn", 2.0]], dtype=object)
    assert columns_of(mixed).kinds == ("text", "number")


def test_all_problems_of_columns_are_told_at_once():
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-01-01"]), "z": [1j], "n": [1]})
    with pytest.raises(DataError) as caught:
        columns_of(frame, names=["day", "z", "z"])
    assert "more than once" in str(caught.value)
    assert "Column day must hold numbers or text, got datetime64" in str(caught.value)
    assert "complex" in str(caught.value)


def test_a_file_has_only_the_inputs_it_has_columns_for():
    graph = TableGraph()
    columns = TableColumns(("a", "b"), ("number", "number"), True)
    model = graph.table(graph.node("Neg", "x"), columns, 2, ["no", "yes"])
    artifact = Artifact(model)
    assert artifact.input_shapes == {"x": (None, 2)}
    assert artifact.classes == ("no", "yes")
    assert artifact.metadata["numeric"] == '["a","b"]'
    assert onnx.load_model_from_string(model).opset_import[0].version == 13


def test_equal_nodes_are_written_once():
    graph = TableGraph()
    assert graph.node("Neg", "x") == graph.node("Neg", "x")
    assert graph.node("Softmax", "x", axis=0) != graph.node("Softmax", "x", axis=1)
    assert len(graph.nodes) == 3


def part(opset=21):
    nodes = [
        helper.make_node("Add", ["rows", "one"], ["more"]),
        helper.make_node("Neg", ["rows"], ["unused"]),
        helper.make_node("Relu", ["more"], ["made"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "part",
        [value("rows", TensorProto.FLOAT, [None, 1])],
        [value("made", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_a_part_of_another_model_is_spliced_in_with_what_it_needs():
    graph = TableGraph()
    made = graph.splice(part(), {"rows": graph.node("Neg", "x")}, "made")
    model = graph.table(graph.node("Neg", made), TableColumns(("a",), ("number",), False), 1, None)
    parsed = onnx.load_model_from_string(model)
    assert [node.op_type for node in parsed.graph.node] == ["Neg", "Add", "Relu", "Neg"]
    assert (parsed.opset_import[0].version, parsed.ir_version) == (21, 10)
    onnx.checker.check_model(parsed, full_check=True)
    assert session(model).run(None, {"x": np.float32([[3.0], [0.5]])})[0].tolist() == [[0.0], [-0.5]]


def test_control_flow_is_not_spliced():
    model = part()
    model.graph.node[0].attribute.append(helper.make_attribute("body", model.graph))
    with pytest.raises(ArtifactError, match="neither sub-graphs nor functions, got Add"):
        TableGraph().splice(model, {"rows": "x"}, "made")
