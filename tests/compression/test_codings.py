import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.codings import CODINGS, coding_named, decode
from compression.graph import Graph, packed_nibbles
from engine.artifact import session


def decoded(coding, values, kept):
    """Write values, run the file, return what it decodes."""
    graph = Graph()
    name, length = decode(graph, coding, values, kept)
    graph.node("Add", graph.node("Cast", "x", to=1), name, output="y")
    model = graph.model({"x": ("uint8", (None,))}, {"y": ("float32", (None,))}, {})
    onnx.checker.check_model(onnx.load_model_from_string(model))
    zero = np.zeros(1, np.uint8)
    results = [session(model, optimized=flag).run(None, {"x": zero})[0] for flag in (True, False)]
    np.testing.assert_array_equal(*results)
    assert len(results[0]) == length
    return results[0][: len(values)], len(model)


@given(data=st.data(), name=st.sampled_from([name for name, c in CODINGS.items() if c.is_integer]))
@settings(max_examples=60, deadline=None)
def test_integer_codings_decode_to_exactly_what_was_written(data, name):
    coding = CODINGS[name]
    codes = data.draw(st.lists(st.integers(coding.low, coding.high), min_size=1, max_size=40))
    values = np.array(codes)
    kept = coding.kept(len(values))
    values[np.flatnonzero(values)[kept:]] = 0 if coding.density < 1 else values[np.flatnonzero(values)[kept:]]
    found, _ = decoded(coding, values, kept)
    np.testing.assert_array_equal(found, values - coding.offset)


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_float_codings_decode_to_their_own_precision(name):
    values = np.random.default_rng(0).normal(size=33).astype(np.float32)
    found, _ = decoded(CODINGS[name], values, len(values))
    np.testing.assert_array_equal(found, values.astype(name).astype(np.float32))


@pytest.mark.parametrize("name", list(CODINGS))
def test_length_follows_the_count_of_weights_and_never_their_values(name):
    coding, rng = CODINGS[name], np.random.default_rng(1)
    lengths = set()
    for _ in range(5):
        values = rng.integers(coding.low, coding.high + 1, 1000) if coding.is_integer else rng.normal(size=1000)
        kept = coding.kept(1000)
        values[rng.permutation(1000)[kept:]] = 0 if coding.density < 1 else values[rng.permutation(1000)[kept:]]
        lengths.add(decoded(coding, values, kept)[1])
    assert len(lengths) == 1


@pytest.mark.parametrize("name", list(CODINGS))
def test_bits_a_weight_are_those_promised(name):
    coding = CODINGS[name]
    small, large = (decoded(coding, np.zeros(n, int), coding.kept(n))[1] for n in (10_000, 20_000))
    assert (large - small) * 8 / 10_000 == pytest.approx(coding.bits, abs=0.02)


def test_nibbles_hold_two_codes_a_byte_low_half_first():
    assert packed_nibbles(np.array([1, -1, 7])) == bytes([0xF1, 0x07])


def test_an_unknown_coding_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"did you mean 'int4'.*Codings: float32"):
        coding_named("itn4")
