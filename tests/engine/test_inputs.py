"""What a user's rows become as inputs of a file that somebody else made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compression.graph import Graph
from engine.artifact import Artifact
from engine.errors import DataError
from engine.inputs import read_inputs


@pytest.fixture
def pixels() -> Artifact:
    """A file whose one input is called `pixels`: uint8, N x 1 x 2 x 2."""
    graph = Graph()
    flat = graph.node("Flatten", graph.node("Cast", "pixels", to=1))
    graph.node("MatMul", flat, graph.weights(np.asarray([[0, 1]] * 4, np.float32)), output="y")
    return Artifact(graph.model({"pixels": ("uint8", (None, 1, 2, 2))}, {"y": ("float32", (None, 2))}, {}))


def test_the_one_input_of_a_file_may_have_any_name(pixels: Artifact, tmp_path: Path) -> None:
    x, other = np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.full((2, 1, 2, 2), 9, np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "both.npz", x=x, pixels=other)
    np.testing.assert_array_equal(read_inputs(pixels, tmp_path / "x.npz").arrays["pixels"], x[:, None])
    np.testing.assert_array_equal(read_inputs(pixels, tmp_path / "both.npz").arrays["pixels"], other)
    Image.fromarray(x[1]).save(tmp_path / "one.png")
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "one.png").rename(folder / "one.png")
    found = read_inputs(pixels, folder).arrays
    assert list(found) == ["pixels"]
    np.testing.assert_array_equal(found["pixels"], x[1:, None])


def test_arrays_of_other_names_are_told(pixels: Artifact, tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", z=np.zeros((2, 1, 2, 2), np.uint8))
    with pytest.raises(DataError, match=r"must hold arrays pixels; it holds z\."):
        read_inputs(pixels, tmp_path / "z.npz")
