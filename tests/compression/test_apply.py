"""Post-training: moments, rounding, palettes, whole models."""

import warnings

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from random_graphs import random_model
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from compression.codings import CODINGS, PALETTES
from compression.graphs.apply import Choice, apply
from compression.graphs.automatic import smallest_within
from compression.graphs.calibrate import inner_values, moments
from compression.graphs.choices import read_choices, uniform
from compression.graphs.fold import simplified
from compression.graphs.footprint import decoded_bytes, peak_memory
from compression.graphs.integer import integer
from compression.graphs.palette import codebook_for
from compression.graphs.recode import as_floats
from compression.graphs.rounding import rounded
from compression.graphs.weighted import layers_of
from engine.artifact import session
from engine.errors import SettingsError


@pytest.fixture(scope="module")
def digits():
    """A small network trained on digits, as a plain ONNX file, with training and test rows."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    net = MLPClassifier((48, 32), max_iter=60, random_state=0, early_stopping=True, n_iter_no_change=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could be trained longer
        net.fit(x[:1200], y[:1200])
    nodes, tensors, source = [], [], "x"
    for number, (weight, bias) in enumerate(zip(net.coefs_, net.intercepts_, strict=True)):
        tensors += [
            numpy_helper.from_array(weight.T.astype(np.float32).copy(), f"fc{number}.weight"),
            numpy_helper.from_array(bias.astype(np.float32), f"fc{number}.bias"),
        ]
        is_last = number == len(net.coefs_) - 1
        made = "y" if is_last else f"h{number}"
        nodes.append(helper.make_node("Gemm", [source, f"fc{number}.weight", f"fc{number}.bias"], [made], transB=1))
        if not is_last:
            nodes.append(helper.make_node("Relu", [made], [f"r{number}"]))
            source = f"r{number}"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        tensors,
    )
    model = simplified(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    return model, {"x": x[:512]}, x[1200:], y[1200:]


def accuracy(content, x, y):
    return float((session(content).run(None, {"x": x})[0].argmax(1) == y).mean())


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_what_a_row_of_a_weight_meets_gives_the_mean_that_the_layer_has(seed):
    model, rows = random_model(seed)
    base = simplified(model)
    layers = [layer for layer in layers_of(base) if layer.node.op_type != "ConvTranspose"]
    found = moments(base, layers, rows)
    assert found.keys() == {layer.weight for layer in layers}
    biases = {tensor.name: numpy_helper.to_array(tensor) for tensor in base.graph.initializer}
    values = list(inner_values(base, {layer.output for layer in layers}, rows))
    for layer in layers:
        matrix = layer.values.reshape(-1)[layer.order].astype(np.float64)
        mean = (matrix @ found[layer.weight].mean[:, :, None])[..., 0].reshape(-1)
        if layer.bias is not None and layer.node.op_type != "MatMul":
            mean = mean + biases[layer.bias]
        out = np.concatenate([batch[layer.output] for batch in values])
        wanted = out.mean(axis=tuple(axis for axis in range(out.ndim) if axis != 1))
        np.testing.assert_allclose(mean, wanted, rtol=1e-3, atol=1e-3 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", ["int8", "int4", "int2", "ternary", "palette2", "palette4", "sparse4", "sparse8"])
def test_knowing_the_inputs_never_hurts_and_mostly_helps(digits, name):
    model, rows, *_ = digits
    coding = (CODINGS | PALETTES)[name]
    layers = layers_of(model)
    known = moments(model, layers, rows)
    for layer in layers:
        book = codebook_for(layers, coding) if name in PALETTES else None
        density = 0.5 if coding.density < 1 else 1.0
        made = [rounded(layer, name, m, density=density, codebook=book).weight for m in (None, known[layer.weight])]
        x = next(inner_values(model, {str(layer.source)}, rows))[str(layer.source)]
        plain, aware = (np.var(x @ (as_floats(w) - layer.values), axis=0).sum() for w in made)
        assert aware <= plain * 1.02
        if name in ("int2", "ternary"):
            assert aware < plain * 0.8
        if density < 1:
            assert np.count_nonzero(made[1].codes) <= round(density * layer.values.size)
        assert made[1].scale is not None
        assert made[1].scale.dtype == np.float16


def test_a_bias_takes_the_mean_of_what_rounding_is_off(digits):
    model, rows, *_ = digits
    content = apply(model, uniform(layers_of(model), Choice("ternary")), rows).model
    coded = session(content).run(None, rows)[0].mean(axis=0)
    plain = session(model.SerializeToString()).run(None, rows)[0]
    assert np.abs(coded - plain.mean(axis=0)).max() < 0.02 * plain.std()


def test_whole_models_keep_what_they_know(digits):
    model, rows, x, y = digits
    original = accuracy(model.SerializeToString(), x, y)
    sizes = {}
    for name, loss in (("float16", 0.005), ("int8", 0.005), ("int4", 0.01), ("palette4", 0.015), ("int2", 0.03)):
        made = apply(model, uniform(layers_of(model), Choice(name)), rows)
        assert accuracy(made.model, x, y) >= original - loss
        assert made.model == apply(model, uniform(layers_of(model), Choice(name)), rows).model
        sizes[name] = len(made.model)
    assert sizes["int2"] < sizes["int4"] < sizes["int8"] < sizes["float16"]


def test_the_search_keeps_its_limit_and_is_no_larger_than_any_uniform_file(digits):
    model, rows, x, y = digits
    original = 1 - accuracy(model.SerializeToString(), x, y)
    tried = []

    def error_of(content):
        return 1 - accuracy(content, x, y)

    best = smallest_within(model, rows, error_of, largest_error=original + 0.02, report=tried.append)
    kept = [len(one.applied.model) for one in tried if one.error <= original + 0.02]
    assert best is not None
    assert best.error == error_of(best.applied.model) <= original + 0.02
    assert len(best.applied.model) == min(kept)
    assert smallest_within(model, rows, lambda _: 1.0, largest_error=0.5) is None


def test_the_smallest_layers_keep_eight_bits_below_four(digits):
    layers = layers_of(digits[0])
    sizes = {layer.weight: layer.values.size for layer in layers}
    assert sizes == {"fc0.weight": 3072, "fc1.weight": 1536, "fc2.weight": 320}
    assert set(uniform(layers, Choice("ternary")).values()) == {Choice("ternary")}  # 320 of 4928 are too many
    wide = [layer for layer in layers if layer.weight == "fc0.weight"] * 3 + layers
    found = uniform(wide, Choice("ternary"))
    assert {name: choice.coding for name, choice in found.items()} == {
        "fc0.weight": "ternary", "fc1.weight": "ternary", "fc2.weight": "int8",
    }  # fmt: skip
    assert set(uniform(wide, Choice("int4")).values()) == {Choice("int4")}


def test_integer_files_agree_and_hold_bytes(digits):
    model, rows, x, y = digits
    content = integer(model, {"x": rows["x"][:200]})
    assert accuracy(content, x, y) >= accuracy(model.SerializeToString(), x, y) - 0.02
    assert len(content) < 0.45 * model.ByteSize()
    assert "QuantizeLinear" in {node.op_type for node in onnx.load_model_from_string(content).graph.node}


def test_memory_is_weights_and_the_largest_values_alive(digits):
    model = digits[0]
    weights = 4 * (64 * 48 + 48 + 48 * 32 + 32 + 32 * 10 + 10)
    assert decoded_bytes(model) == weights
    assert peak_memory(model) == weights + 4 * (64 + 48)


def test_codings_by_layer_from_a_file(digits, tmp_path):
    layers = layers_of(digits[0])
    recipe = tmp_path / "r.yaml"
    layer = "{name: fc0.weight, coding: sparse4, density: 0.3}"
    recipe.write_text(f"coding: int4\nlayers: [{layer}, {{name: fc2.weight, coding: int8}}]\n")
    found = read_choices(recipe, layers)
    assert found == {"fc0.weight": Choice("sparse4", 0.3), "fc1.weight": Choice("int4"), "fc2.weight": Choice("int8")}
    recipe.write_text("codign: int4\n")
    with pytest.raises(SettingsError, match=r"Unknown key .*did you mean .*coding"):
        read_choices(recipe, layers)
    recipe.write_text("layers: [{name: fc9.weight, coding: int3}, {name: fc1.weight, density: 3}]\n")
    with pytest.raises(SettingsError) as caught:
        read_choices(recipe, layers)
    told = str(caught.value)
    assert all(text in told for text in ("no weight 'fc9.weight'", "no coding 'int3'", "density must lie in (0, 1]"))


@given(st.integers(0, 10_000), st.sampled_from(["int8", "int4", "int2", "ternary", "palette2", "palette4", "sparse4"]))
@settings(max_examples=20, deadline=None)
def test_any_graph_takes_any_coding_without_training(seed, name):
    model, rows = random_model(seed)
    base = simplified(model)
    density = 0.6 if name == "sparse4" else 1.0
    made = apply(base, uniform(layers_of(base), Choice(name, density)), rows)
    found = session(made.model).run(None, rows)[0]
    assert np.isfinite(found).all()
    if name == "int8":
        wanted = session(model.SerializeToString()).run(None, rows)[0]
        assert np.abs(found - wanted).max() <= 0.03 * max(1, np.abs(wanted).max())
