"""Finished models: what they predict, what they refuse, how they are written and read."""

import json
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from compression.graph import Graph
from engine import artifact as module
from engine.artifact import Artifact, session
from engine.errors import ArtifactError

NAMES = ("ankle boot", "sandal", "\N{LATIN SMALL LETTER U WITH DIAERESIS}")


def rows_of(count, shape, *, seed=0, dtype="uint8"):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape)).astype(dtype)


def image_model(*, dtype="uint8", shape=(1, 2, 3), outputs=3, card=None, **metadata):
    """Softmax of a fixed linear map of the pixels."""
    size = int(np.prod(shape))
    weights = np.random.default_rng(1).normal(size=(size, outputs)).astype(np.float32) / 100
    graph = Graph()
    floats = graph.node("Cast", "x", to=1)
    flat = graph.node("Reshape", floats, graph.integers([-1, size]))
    graph.node("Softmax", graph.node("MatMul", flat, graph.weights(weights)), output="y")
    model = graph.model({"x": (dtype, (None, *shape))}, {"y": ("float32", (None, outputs))}, metadata)
    return Artifact(model, card or {})


def expected(x, outputs=3):
    flat = x.reshape(len(x), -1).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(flat.shape[1], outputs)).astype(np.float32) / 100
    exponentials = np.exp(flat @ weights)
    return exponentials / exponentials.sum(1, keepdims=True)


def regression_model():
    graph = Graph()
    graph.node("ReduceMean", "x", output="y", axes=[1], keepdims=1)
    return Artifact(
        graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 1))}, {"task": "regression"}), {}
    )


def text_model():
    """Softmax of a number and a number written as text."""
    graph = Graph()
    first = graph.node("Cast", "c", to=1)
    graph.node("Softmax", graph.node("Concat", "x", first, axis=1), output="y")
    return Artifact(
        graph.model(
            {"x": ("float32", (None, 1)), "c": ("str", (None, 1))}, {"y": ("float32", (None, 2))}, {"p": "text"}
        )
    )


def test_outputs_are_those_of_the_graph():
    x = rows_of(5, (1, 2, 3))
    outputs = image_model().outputs({"x": x})
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected(x), rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 23])
def test_batches_change_no_row(monkeypatch, count):
    monkeypatch.setattr(module, "BATCH_ROWS", 7)
    artifact, x = image_model(), rows_of(23, (1, 2, 3))[:count]
    outputs = artifact.outputs({"x": x})
    assert outputs.shape == (count, 3)
    for row in range(count):
        np.testing.assert_allclose(outputs[row], artifact.outputs({"x": x[row : row + 1]})[0], rtol=1e-6)


def test_more_rows_than_a_batch_are_equal_row_by_row():
    artifact, x = image_model(), rows_of(module.BATCH_ROWS + 3, (1, 2, 3))
    outputs = artifact.outputs({"x": x})
    assert outputs.shape == (len(x), 3)
    np.testing.assert_allclose(outputs, expected(x), rtol=1e-4)


def test_two_inputs_are_cut_into_the_same_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    x, c = np.arange(10, dtype=np.float32)[:, None], np.array([[str(n)] for n in range(10)])
    np.testing.assert_allclose(text_model().outputs({"x": x, "c": c}), 0.5)


def test_one_channel_may_be_left_out():
    artifact, x = image_model(), rows_of(4, (2, 3))
    np.testing.assert_array_equal(artifact.outputs({"x": x}), artifact.outputs({"x": x[:, None]}))


def test_several_channels_may_not_be_left_out():
    with pytest.raises(ArtifactError, match=r"Input x must have shape N x 3 x 2 x 3, got 4 x 2 x 3\."):
        image_model(shape=(3, 2, 3)).outputs({"x": rows_of(4, (2, 3))})


@pytest.mark.parametrize("shape", [(4, 1, 3, 2), (4, 6), (4,), (4, 1, 2, 3, 1), (4, 2, 2, 3)])
def test_other_shapes_are_refused(shape):
    got = " x ".join(map(str, shape))
    with pytest.raises(ArtifactError, match=rf"Input x must have shape N x 1 x 2 x 3, got {got}\."):
        image_model().outputs({"x": np.zeros(shape, np.uint8)})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool"])
def test_whole_numbers_of_other_types_are_pixels(dtype):
    x = rows_of(4, (1, 2, 3)) % (2 if dtype == "bool" else 100)
    artifact = image_model()
    np.testing.assert_array_equal(artifact.outputs({"x": x.astype(dtype)}), artifact.outputs({"x": x}))


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0, 1e300, np.nan, np.inf])
def test_what_is_no_whole_number_is_no_pixel(value):
    with pytest.raises(ArtifactError, match=r"Input x must hold whole numbers in \[0, 255\] \(uint8\), got float64\."):
        image_model().outputs({"x": np.full((2, 1, 2, 3), value)})


def test_objects_are_no_pixels():
    with pytest.raises(ArtifactError, match=r"Input x must hold whole numbers in \[0, 255\] \(uint8\), got object\."):
        image_model().outputs({"x": np.full((2, 1, 2, 3), None)})


def test_text_is_no_pixel():
    with pytest.raises(ArtifactError, match=r"Input x must hold whole numbers"):
        image_model().outputs({"x": np.full((2, 1, 2, 3), "a")})


def test_text_is_no_number():
    with pytest.raises(ArtifactError, match=r"Input x must be float32, got <U1: could not convert"):
        image_model(dtype="float32").outputs({"x": np.full((2, 1, 2, 3), "a")})


def test_a_missing_input_is_named():
    with pytest.raises(ArtifactError, match=r"The model takes x, c; input c is missing\."):
        text_model().outputs({"x": np.zeros((3, 1), np.float32)})


def test_inputs_of_different_lengths_are_refused(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    with pytest.raises(ArtifactError, match=r"rows"):
        text_model().outputs({"x": np.zeros((4, 1), np.float32), "c": np.full((8, 1), "0")})


def test_what_onnx_runtime_cannot_compute_is_an_artifact_error():
    with pytest.raises(ArtifactError):
        text_model().outputs({"x": np.zeros((1, 1), np.float32), "c": np.array([["red"]])})


def test_predictions_are_names_of_classes():
    x = rows_of(30, (1, 2, 3))
    found = image_model(classes=NAMES).predict({"x": x})
    assert found.tolist() == [NAMES[index] for index in expected(x).argmax(1)]
    assert len(set(found)) > 1


def test_classes_without_names_are_numbered():
    artifact = image_model()
    assert artifact.task == "classification"
    assert artifact.classes == ("0", "1", "2")
    assert set(artifact.predict({"x": rows_of(30, (1, 2, 3))})) <= {"0", "1", "2"}


def test_names_stand_in_the_file_not_in_the_card():
    artifact = image_model(card={"classes": ["wrong"] * 3}, classes=NAMES)
    assert artifact.classes == NAMES
    assert artifact.metadata["classes"] == json.dumps(NAMES, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("names", ["not JSON", "3", '["a"]', '{"a": 1}'])
def test_names_that_do_not_fit_the_outputs_are_refused(names):
    with pytest.raises(ArtifactError, match=r"classes"):
        image_model(classes=names).predict({"x": np.full((1, 1, 2, 3), 7, np.uint8)})


def test_regression_predicts_values():
    x = np.arange(8, dtype=np.float64).reshape(2, 4)
    artifact = regression_model()
    assert artifact.task == "regression"
    assert artifact.classes == ()
    np.testing.assert_allclose(artifact.predict({"x": x}), [1.5, 5.5])


def test_inputs_are_described_as_numpy_names_them():
    assert image_model().input_shapes == {"x": (None, 1, 2, 3)}
    assert image_model().input_types == {"x": "uint8"}
    assert text_model().input_types == {"x": "float32", "c": "str"}


def test_saved_and_loaded_it_is_the_same(tmp_path):
    artifact = image_model(card={"bytes": 7, "steps": [], "name": NAMES[2]}, classes=NAMES)
    path = artifact.save(tmp_path / "deep" / "er")
    assert path == tmp_path / "deep" / "er" / "model.onnx"
    assert path.read_bytes() == artifact.model
    assert path.stat().st_size == artifact.size
    for place in (path, str(path), path.parent):
        loaded = Artifact.load(place)
        assert loaded.sha256 == artifact.sha256
        assert loaded.card == artifact.card
        assert loaded.classes == NAMES


def test_nothing_half_written_stays(tmp_path):
    image_model(card={"a": 1}).save(tmp_path)
    image_model(card={"a": 2}, outputs=2).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", "model.onnx"]
    assert Artifact.load(tmp_path).card == {"a": 2}


def test_a_write_that_fails_leaves_the_file_before(tmp_path, monkeypatch):
    before = image_model(card={"a": 1})
    before.save(tmp_path)

    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"No space left"):
        image_model(outputs=2).save(tmp_path)
    assert Artifact.load(tmp_path).sha256 == before.sha256
    assert Artifact.load(tmp_path).card == {"a": 1}


def test_a_card_that_is_no_json_keeps_the_folder_as_it_was(tmp_path):
    with pytest.raises(TypeError, match=r"not JSON serializable"):
        image_model(card={"a": object()}).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_card_loads(tmp_path):
    (tmp_path / "any name").write_bytes(image_model().model)
    assert Artifact.load(tmp_path / "any name").card == {}


@pytest.mark.parametrize("content", [b"3", b"[]", b"null", b"NaN"])
def test_a_card_that_is_no_mapping_is_none(tmp_path, content):
    image_model().save(tmp_path)
    (tmp_path / "card.json").write_bytes(content)
    assert Artifact.load(tmp_path).card == {}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_card_is_named_with_the_remedy(tmp_path, content):
    image_model().save(tmp_path)
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"card\.json is not JSON: .*Delete it, the model works without\."):
        Artifact.load(tmp_path)


def test_a_card_nested_without_end_is_named_too(tmp_path):
    image_model().save(tmp_path)
    (tmp_path / "card.json").write_text("[" * 100_000)
    with pytest.raises(ArtifactError, match=r"card\.json is not JSON"):
        Artifact.load(tmp_path)


def test_a_card_that_cannot_be_read_is_named_too(tmp_path):
    image_model().save(tmp_path)
    (tmp_path / "card.json").unlink()
    (tmp_path / "card.json").mkdir()
    with pytest.raises(ArtifactError, match=r"card\.json"):
        Artifact.load(tmp_path)


def test_what_onnx_runtime_refuses_is_an_artifact_error():
    graph = Graph()
    graph.node("NoSuchOperator", "x", output="y")
    model = graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 4))}, {})
    with pytest.raises(ArtifactError, match=r"ONNX Runtime cannot open the model: .*NoSuchOperator"):
        Artifact(model).outputs({"x": np.zeros((1, 4), np.float32)})


def test_graph_optimisation_changes_nothing():
    x = rows_of(9, (1, 2, 3))
    plain, optimized = (session(image_model().model, optimized=flag).run(None, {"x": x})[0] for flag in (False, True))
    np.testing.assert_allclose(plain, optimized, rtol=1e-5)


def test_sent_to_another_process_it_opens_its_session_anew():
    artifact, x = image_model(card={"a": 1}, classes=NAMES), rows_of(3, (1, 2, 3))
    outputs = artifact.outputs({"x": x})
    copy = ForkingPickler.loads(ForkingPickler.dumps(artifact))
    assert vars(copy) == {"model": artifact.model, "card": {"a": 1}}
    np.testing.assert_array_equal(copy.outputs({"x": x}), outputs)


def test_equal_files_have_equal_digests():
    assert image_model().sha256 == image_model(card={"other": 1}).sha256
    assert image_model().sha256 != image_model(classes=NAMES).sha256
    assert len(image_model().sha256) == 64
