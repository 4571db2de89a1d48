"""One file for the mean of several."""

import numpy as np
import onnx
import pytest

from compression.graph import Graph
from compression.mean import mean_file, pieces
from engine.artifact import Artifact
from engine.errors import ArtifactError


def file_of(weights, *, width=3, coding="float32"):
    graph = Graph()
    scores = graph.node("MatMul", "x", graph.weights(np.asarray(weights, coding)))
    graph.node("Softmax", scores, output="y")
    return graph.model({"x": ("float32", (None, width))}, {"y": ("float32", (None, 2))}, {"classes": ["no", "yes"]})


@pytest.fixture
def files():
    rng = np.random.default_rng(0)
    return [file_of(rng.normal(size=(3, 2))) for _ in range(3)]


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.5, 0.375, 0.125)])
def test_it_answers_with_the_weighted_mean(files, shares):
    rows = {"x": np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)}
    expected = sum(share * Artifact(file).outputs(rows) for share, file in zip(shares, files, strict=True))
    mean = Artifact(mean_file(files, shares))
    assert mean.outputs(rows) == pytest.approx(expected, abs=1e-6)
    assert mean.classes == ("no", "yes")
    onnx.checker.check_model(onnx.load_model_from_string(mean.model))


def test_what_files_have_alike_is_written_once():
    weights = np.random.default_rng(0).normal(size=(3, 2))
    one = file_of(weights)
    made = onnx.load_model_from_string(mean_file([one, one, one], [0.5, 0.25, 0.25]))
    assert len(made.graph.initializer) == 1 + 3  # the weights, and the shares
    assert [node.op_type for node in made.graph.node] == ["MatMul", "Softmax", *["Mul"] * 3, "Sum"]
    assert mean_file([one, one], [0.5, 0.5]) == mean_file([one, one], [0.5, 0.5])


def test_steps_alike_are_shared_until_files_differ(files):
    def after(file):
        model = onnx.load_model_from_string(file)
        model.graph.node.insert(0, onnx.helper.make_node("Relu", ["x"], ["r"]))
        model.graph.node[1].input[0] = "r"
        return model.SerializeToString()

    made = onnx.load_model_from_string(mean_file([after(file) for file in files], [0.5, 0.25, 0.25]))
    kinds = [node.op_type for node in made.graph.node]
    assert (kinds.count("Relu"), kinds.count("MatMul"), kinds.count("Softmax")) == (1, 3, 3)
    rows = {"x": np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)}
    parts = zip((0.5, 0.25, 0.25), files, strict=True)
    expected = sum(share * Artifact(after(file)).outputs(rows) for share, file in parts)
    assert Artifact(made.SerializeToString()).outputs(rows) == pytest.approx(expected, abs=1e-6)


def test_pieces_foretell_the_length_of_a_mean(files):
    same = file_of(np.ones((3, 2)))
    for chosen in ([files[0], files[1]], files, [same, same, files[0]]):
        assert all(sum(pieces(file).values()) == len(file) for file in chosen)
        together = dict(entry for file in chosen for entry in pieces(file).items())
        length = len(mean_file(chosen, [0.5, 0.25, 0.25][: len(chosen)]))
        assert 0 < length - sum(together.values()) < 80 * len(chosen)


def test_the_versions_are_the_highest_of_the_files(files):
    newer = onnx.load_model_from_string(files[1])
    newer.opset_import[0].version, newer.ir_version = 21, 10
    made = onnx.load_model_from_string(mean_file([files[0], newer.SerializeToString()], [0.5, 0.5]))
    assert (made.opset_import[0].version, made.ir_version) == (21, 10)


def test_files_that_cannot_be_one_are_refused(files):
    with pytest.raises(ArtifactError, match="same inputs; those of file 1 differ"):
        mean_file([files[0], file_of(np.ones((4, 2)), width=4)], [0.5, 0.5])
    nested = onnx.load_model_from_string(files[0])
    branch = onnx.helper.make_graph([], "g", [], [onnx.helper.make_tensor_value_info("x", 1, [1])])
    nested.graph.node.append(onnx.helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))
    with pytest.raises(ArtifactError, match="no sub-graphs; file 1 has one in If"):
        mean_file([files[0], nested.SerializeToString()], [0.5, 0.5])
