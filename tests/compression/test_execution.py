"""Float or integer execution of a model that somebody has, by measured latency."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from compression import compress
from compression.graphs.execution import compared
from compression.graphs.fold import simplified
from compression.graphs.integer import integer
from compression.graphs.latency import paired_latency
from compression.modules.retrain import Training
from compression.recipes.family import Recipes
from compression.recipes.genes import canonical_of, execution_of
from compression.recipes.settings import RecipesSettings
from engine.artifact import Artifact
from engine.data import Dataset, Rows, Signature, Split
from engine.errors import SettingsError

FIGURES = {
    "execution", "integer_pays", "float_latency_us", "integer_latency_us", "ratio", "ratio_low", "ratio_high", "pairs",
    "integer_error", "reason",
}  # fmt: skip


def digits():
    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 1, 8, 8).astype(np.float32), y


@pytest.fixture(scope="module")
def model():
    """Random features of the digits, and a linear layer that was fitted on them."""
    rng, (x, y) = np.random.default_rng(0), digits()
    filters = rng.normal(size=(24, 1, 3, 3)).astype(np.float32) / 16

    def graph_of(head, bias):
        nodes = [
            helper.make_node("Conv", ["x", "filters"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Flatten", ["b"], ["f"]),
            helper.make_node("Gemm", ["f", "head", "bias"], ["scores"]),
        ]
        return helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])],
            [numpy_helper.from_array(v.astype(np.float32), k)
             for k, v in (("filters", filters), ("head", head), ("bias", bias))],
        )  # fmt: skip

    def made(head, bias):
        return helper.make_model(graph_of(head, bias), opset_imports=[helper.make_opsetid("", 13)], ir_version=7)

    eye = made(np.eye(384)[:, :10], np.zeros(10))
    eye.graph.output[0].name = "f"
    del eye.graph.output[0].type.tensor_type.shape.dim[:], eye.graph.node[-1]
    del eye.graph.initializer[1:]
    features = Artifact(eye.SerializeToString()).outputs({"x": x})
    wanted = np.eye(10)[y] * 2 - 1
    features = np.hstack([features, np.ones((len(x), 1))]).astype(np.float64)
    fitted = np.linalg.solve(features.T @ features + 10 * np.eye(385), features.T @ wanted)
    return made(fitted[:-1], fitted[-1])


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    folder, (x, y) = tmp_path_factory.mktemp("execution"), digits()
    onnx.save(model, folder / "m.onnx")
    np.savez(folder / "d.npz", x_train=x[:700], y_train=y[:700], x_valid=x[700:1200], y_valid=y[700:1200],
             x_test=x[1200:], y_test=y[1200:])  # fmt: skip
    return folder


def card_of(place, capsys, *words):
    out = place / "small.onnx"
    given = [f"model={place / 'm.onnx'}", "data=npz", f"data.path={place / 'd.npz'}", f"out={out}", *words]
    assert compress.main(given) == 0
    return json.loads(out.with_suffix(".card.json").read_text()), capsys.readouterr().out, Artifact.load(out)


def operators(artifact):
    return {node.op_type for node in onnx.load_model_from_string(artifact.model).graph.node}


def test_integers_that_are_asked_for_tell_whether_they_pay(place, capsys):
    card, text, artifact = card_of(place, capsys, "to=integer")
    told = card["execution"]
    assert set(told) == FIGURES
    assert told["execution"] == "integer"
    assert told["integer_pays"] == (told["ratio_high"] < 1)
    assert 0 < told["ratio_low"] <= told["ratio"] <= told["ratio_high"]
    assert told["integer_error"] == card["validation"]["error"]
    assert told["reason"] in text
    assert "QuantizeLinear" in operators(artifact)


@pytest.mark.slow
def test_latency_chooses_and_the_card_tells_why(place, capsys):
    card, text, artifact = card_of(place, capsys, "to=auto", "cost=latency_us", "max_drop=0.02")
    told, limit = card["execution"], card["original"]["validation"]["error"] + 0.02 + 1e-9
    assert set(told) == FIGURES
    is_integer = told["execution"] == "integer"
    assert is_integer == (told["integer_pays"] and told["integer_error"] <= limit)
    assert is_integer == ("QuantizeLinear" in operators(artifact))
    assert card["validation"]["error"] <= limit
    assert told["reason"] in card["reason"]
    assert told["reason"] in text
    assert card["bytes"] == artifact.size


def test_a_file_that_loses_too_much_is_not_taken_however_fast(model):
    x, _ = digits()
    made, one = integer(simplified(model), {"x": x[:128]}), {"x": x[:1]}
    found = compared(model.SerializeToString(), made, one, error=0.2, largest_error=0.1)
    assert found.execution == "float"
    assert "lose too much" in found.reason
    asked = compared(model.SerializeToString(), made, one, error=0.2)
    assert asked.execution == "integer"


def test_a_file_beside_itself_is_not_faster(model):
    content = model.SerializeToString()
    found = paired_latency(content, content, {"x": digits()[0][:1]})
    assert found.low <= found.ratio <= found.high
    assert found.first_us > 0
    assert found.pairs == 31


def test_cost_is_for_auto_alone(place):
    with pytest.raises(SettingsError, match="cost is for to=auto only, got latency_us with to=int4"):
        compress.CompressSettings("m.onnx", "o.onnx", to="int4", cost="latency_us")


def test_recipes_have_the_gene_where_there_is_a_choice_and_build_both_forms(model):
    x, y = digits()
    signature = Signature("images", "classification", (1, 8, 8), "uint8", tuple(map(str, range(10))))
    data = Dataset(signature, Rows(y[:600], x[:600].astype(np.uint8)), (Split(np.arange(400), np.arange(400, 600)),))
    content = simplified(model)
    content.graph.output[0].name = "y"
    content.graph.node[-1].output[0] = "y"
    settings = RecipesSettings(codings=["int4", "int8"], layers=2, executions=["float", "integer"])
    family = Recipes(content.SerializeToString(), signature, settings, Training(steps=10, epochs=0.1))
    rng = np.random.default_rng(0)
    sampled = family.space.sample(rng).replace(execution="integer", **{"layer0.coding": "int4"})
    candidate = family.canonical(sampled)
    assert candidate["layer0.coding"] == "int8"
    assert family.canonical(candidate) == candidate
    family.space.check(candidate)
    kinds = {}
    for execution in ("integer", "float"):
        one = candidate.replace(execution=execution)
        [(_, artifact)] = family.build(one, data, fold=0, fidelity=1.0, seed=0, report=lambda _step, _error: True)
        kinds[execution] = operators(artifact)
        assert artifact.card["bytes"] == artifact.size
    assert "QuantizeLinear" in kinds["integer"]
    assert "QuantizeLinear" not in kinds["float"]
    alone = RecipesSettings(executions=["float"])
    assert execution_of(canonical_of(sampled, family.anatomy, settings), alone) == "integer"
    with pytest.raises(SettingsError, match="executions must hold float, integer or both"):
        RecipesSettings(executions=["fast"])
