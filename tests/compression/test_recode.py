import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser
from random_graphs import random_model

from compression.codings import CODINGS, PALETTES
from compression.graphs.fold import simplified
from compression.graphs.recode import Recoded, as_floats, recode, with_floats
from compression.graphs.strip import stripped
from compression.graphs.unpack import unpacked
from compression.graphs.weighted import layers_of
from engine.artifact import session
from engine.errors import ArtifactError


def random_recoded(rng, shape, axis, name):
    """Random codes and scales: what a training could have left."""
    if name in ("float32", "float16"):
        return Recoded(name, rng.normal(size=shape).astype(np.float32))
    coding = (CODINGS | PALETTES)[name]
    book = np.sort(rng.normal(size=coding.high + 1)).astype(np.float16) if name in PALETTES else None
    codes = rng.integers(coding.low, coding.high + 1, shape)
    if coding.density < 1:
        codes = codes * (rng.random(shape) < rng.random())
    whole = rng.random() < 0.2
    scale = rng.uniform(0.01, 0.1, 1 if whole else shape[axis]).astype(np.float16)
    return Recoded(name, codes, scale, None if whole else axis, book)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_any_codings_in_any_graph_decode_exactly_and_do_the_same(seed):
    model, rows = random_model(seed)
    rng = np.random.default_rng(seed)
    base = simplified(model)
    names = list(CODINGS | PALETTES)
    weights = {
        layer.weight: random_recoded(rng, layer.values.shape, layer.axis, str(rng.choice(names)))
        for layer in layers_of(base)
        if rng.random() < 0.9
    }
    weights |= {
        layer.bias: Recoded("float16", rng.normal(size=layer.values.shape[layer.axis]).astype(np.float32))
        for layer in layers_of(base)
        if layer.bias is not None and rng.random() < 0.5
    }
    weights = {name: w for name, w in weights.items() if w.codes.shape == tensor_shape(base, name)}
    content = recode(
        base, weights, rows
    )  # which is the gate: bits of the weights, outputs with optimisation and without
    assert content == recode(base, dict(reversed(weights.items())), rows)
    assert b"/model/" not in content
    model_read = onnx.load_model_from_string(content)
    onnx.checker.check_model(model_read, full_check=True)
    wanted = session(with_floats(base, {n: as_floats(w) for n, w in weights.items()}).SerializeToString()).run(
        None, rows
    )[0]
    found = session(content).run(None, rows)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


def test_packed_weights_are_unpacked_and_can_be_packed_anew():
    model, rows = random_model(2)
    base = simplified(model)
    rng = np.random.default_rng(0)
    weights = {
        layer.weight: random_recoded(rng, layer.values.shape, layer.axis, "ternary") for layer in layers_of(base)
    }
    packed = onnx.load_model_from_string(recode(base, weights))
    assert not layers_of(packed)
    plain = simplified(unpacked(packed))
    assert [layer.values.shape for layer in layers_of(plain)] == [layer.values.shape for layer in layers_of(base)]
    found, wanted = (session(each.SerializeToString()).run(None, rows)[0] for each in (plain, packed))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def tensor_shape(model, name):
    return next(tuple(tensor.dims) for tensor in model.graph.initializer if tensor.name == name)


def product(*shape, seed=0):
    """A model x @ w with a random w."""
    w = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    head = f"(float[N, {shape[0]}] x) => (float[N, {shape[1]}] y)"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {head} {{ y = MatMul(x, w) }}')
    model.graph.initializer.append(numpy_helper.from_array(w, "w"))
    return model


@pytest.mark.parametrize(
    ("name", "bits"),
    [("int8", 8), ("int4", 4), ("int2", 2), ("ternary", 1.6), ("palette2", 2), ("palette4", 4), ("float16", 16)],
)
def test_files_take_the_bits_promised(name, bits):
    sizes = []
    for rows in (100, 200):
        weight = random_recoded(np.random.default_rng(0), (rows, 100), 1, name)
        sizes.append(len(recode(product(rows, 100), {"w": weight})))
    assert (sizes[1] - sizes[0]) * 8 / 10_000 == pytest.approx(bits, abs=0.05)


@pytest.mark.parametrize(("name", "bits"), [("sparse4", 4), ("sparse8", 8)])
def test_sparse_files_take_a_bit_a_place_and_the_codes_that_stay(name, bits):
    rng = np.random.default_rng(0)
    sizes = {}
    for density in (0.05, 0.5):
        codes = np.zeros(40_000, int)
        codes[: int(density * 40_000)] = 3
        weight = Recoded(name, rng.permutation(codes).reshape(200, 200), np.ones(200, np.float16), 1)
        sizes[density] = len(recode(product(200, 200), {"w": weight}))
        assert sizes[density] == pytest.approx(40_000 / 8 * (1 + bits * density) + 2 * 200, abs=500)


def test_all_weights_that_take_long_decoding_share_one_tensor():
    model, _ = random_model(2)
    base = simplified(model)
    rng = np.random.default_rng(0)
    weights = {
        layer.weight: random_recoded(rng, layer.values.shape, layer.axis, "ternary") for layer in layers_of(base)
    }
    assert len(weights) > 1
    small = onnx.load_model_from_string(recode(base, weights))
    assert [t.data_type for t in small.graph.initializer].count(onnx.TensorProto.UINT8) == 1


def test_what_a_newer_opset_takes_as_an_input_is_an_initializer():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 3, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, -7}>
        { m = ReduceMean<axes = [1], keepdims = 0>(x) y = MatMul(m, w) }""")
    content = recode(model, {"w": Recoded("int4", np.arange(-4, 4).reshape(4, 2), np.ones(2, np.float16), 1)})
    assert "Constant" not in {node.op_type for node in onnx.load_model_from_string(content).graph.node}


def test_weights_that_differ_in_one_axis_lie_side_by_side_in_their_own_shape():
    rng = np.random.default_rng(0)
    for count in (2, 12):
        body = " ".join(f"a{n + 1} = MatMul(a{n}, w{n})" for n in range(count)).replace(f"a{count} =", "y =")
        text = f'<ir_version: 8, opset_import: ["" : 17]> net (float[N, 8] a0) => (float[N, 8] y) {{ {body} }}'
        model = parser.parse_model(text)
        weights = {f"w{n}": random_recoded(rng, (8, 8), 1, "int8") for n in range(count)}
        model.graph.initializer.extend(numpy_helper.from_array(np.ones((8, 8), np.float32), name) for name in weights)
        small = onnx.load_model_from_string(recode(model, weights))
        assert [t.data_type for t in small.graph.initializer].count(onnx.TensorProto.INT8) == 1
        assert not [node for node in small.graph.node if node.op_type == "Reshape"]


def test_a_name_two_layers_share_is_decoded_once():
    body = "(float[N, 3] x) => (float[N, 3] y) { a = MatMul(x, w) y = MatMul(a, w) }"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {body}')
    model.graph.initializer.append(numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"))
    content = recode(model, {"w": Recoded("int8", np.eye(3, dtype=int), np.ones(3, np.float16), 1)})
    assert session(content).run(None, {"x": np.array([[1, 2, 3]], np.float32)})[0].tolist() == [[1, 2, 3]]


def test_everything_that_is_wrong_is_told_at_once():
    model = product(4, 2)
    ok = np.zeros((4, 2), int)
    with pytest.raises(ArtifactError) as caught:
        recode(model, {"v": Recoded("int8", ok), "w": Recoded("int8", np.zeros((2, 4), int))})
    assert "no tensor 'v'" in str(caught.value)
    assert "w: codes must have the weight's shape (4, 2)" in str(caught.value)
    wrong = {
        "no coding 'int5'; did you mean": Recoded("int5", ok),
        r"whole numbers in \[-7, 7\], got 9 to 9": Recoded("int4", ok + 9),
        r"scale must have shape \(2,\)": Recoded("int4", ok, np.ones(4, np.float16), 1),
        "must be float16 values": Recoded("int4", ok, np.array([0.1, 0.2]), 1),
        "finite in float16": Recoded("float16", np.full((4, 2), 1e6)),
        "needs a codebook": Recoded("palette4", ok),
        "takes no codebook": Recoded("int4", ok, codebook=np.zeros(3, np.float16)),
        r"in \[0, 2\]": Recoded("palette4", ok + 3, codebook=np.zeros(3, np.float16)),
    }
    for text, weight in wrong.items():
        with pytest.raises(ArtifactError, match=text):
            recode(model, {"w": weight})


def test_a_model_of_an_old_opset_takes_every_coding():
    model, rows = next(pair for pair in map(random_model, range(100)) if pair[0].opset_import[0].version == 11)
    base = simplified(model)
    for name in ("int4", "palette4", "ternary", "sparse8"):
        rng = np.random.default_rng(0)
        weights = {layer.weight: random_recoded(rng, layer.values.shape, layer.axis, name) for layer in layers_of(base)}
        assert len(recode(base, weights, rows)) < stripped(model).ByteSize() + 600
