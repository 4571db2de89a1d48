"""Reading files and cards: too long, too deep, not there, or no model at all."""

import contextlib

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_mutations import hostile_models, sound_models

from engine import guard
from engine.artifact import Artifact
from engine.errors import ArtifactError
from engine.guard import checked_model, read_card, read_file

SMALL = sound_models()[0]


def test_a_file_larger_than_the_cap_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_FILE_BYTES", 50)
    path = tmp_path / "model.onnx"
    path.write_bytes(SMALL)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _path: pytest.fail("it was read"))
    with pytest.raises(ArtifactError, match=rf"model\.onnx has {len(SMALL)} bytes; at most 50 are read\."):
        read_file(path)
    with pytest.raises(ArtifactError, match=rf"The model has {len(SMALL)} bytes; at most 50 are read\."):
        checked_model(SMALL)


def test_a_sparse_giant_on_disk_is_not_read(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(guard.MAX_FILE_BYTES + 1)
    with pytest.raises(ArtifactError, match=r"has 268435457 bytes; at most 268435456 are read"):
        Artifact.load(path)


def test_empty_missing_and_wrong_places_are_named(tmp_path):
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ArtifactError, match=r"empty\.onnx is empty\."):
        read_file(tmp_path / "empty.onnx")
    with pytest.raises(ArtifactError, match=r"absent\.onnx cannot be read: No such file or directory\."):
        read_file(tmp_path / "absent.onnx")
    with pytest.raises(ArtifactError, match=r"cannot be read: it is not a file\."):
        read_file(tmp_path)
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be read: No such file or directory\."):
        Artifact.load(tmp_path)


@pytest.mark.parametrize("content", [b'{"a": ' * 40 + b"1" + b"}" * 40, b"[" * 33 + b"]" * 33])
def test_a_card_nested_too_deep_is_named(tmp_path, content):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"card\.json is nested deeper than 32 levels, as no card is\. Delete it"):
        read_card(tmp_path / "card.json")


def test_a_card_that_is_too_long_is_not_read(tmp_path):
    with (tmp_path / "card.json").open("wb") as file:
        file.truncate(guard.MAX_CARD_BYTES + 1)
    with pytest.raises(
        ArtifactError, match=r"card\.json has 4194305 bytes; at most 4194304 are read\. The model works"
    ):
        read_card(tmp_path / "card.json")


def test_a_card_as_deep_as_cards_are_is_read(tmp_path):
    (tmp_path / "card.json").write_text('{"a": {"b": [{"c": [1, 2]}]}}')
    assert read_card(tmp_path / "card.json") == {"a": {"b": [{"c": [1, 2]}]}}
    assert read_card(tmp_path / "absent.json") == {}


def returns_or_refuses(content):
    with contextlib.suppress(ArtifactError):
        assert isinstance(checked_model(content), onnx.ModelProto)


@given(content=st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_a_model_or_an_artifact_error(content):
    returns_or_refuses(content)


SEEDS = (*sound_models(), *hostile_models().values())


@given(
    seed=st.sampled_from(SEEDS),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=8),
)
@settings(max_examples=300, deadline=None)
def test_flipped_bytes_are_a_model_or_an_artifact_error(seed, flips):
    content = bytearray(seed)
    for place, change in flips:
        content[place % len(content)] ^= change
    returns_or_refuses(bytes(content))


@given(seed=st.sampled_from(SEEDS), start=st.integers(0, 10**6), length=st.integers(0, 60), other=st.binary(max_size=9))
@settings(max_examples=200, deadline=None)
def test_cut_and_filled_files_are_a_model_or_an_artifact_error(seed, start, length, other):
    start %= len(seed)
    returns_or_refuses(seed[:start] + other + seed[start + length :])


def test_every_prefix_of_a_file_is_refused():
    for length in range(len(SMALL)):
        try:
            checked_model(SMALL[:length])
        except ArtifactError:
            continue
        # Fields are complete at this length and what is missing comes after the graph.
        assert onnx.ModelProto.FromString(SMALL[:length]).graph.output


def test_texts_that_are_no_unicode_are_refused():
    content = SMALL.replace(b"Softmax", b"Soft\xff\xfex")
    assert content != SMALL
    with pytest.raises(ArtifactError, match=r"a text in it is not Unicode"):
        checked_model(content)
