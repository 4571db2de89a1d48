"""The laws of model files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from engine.artifact import Artifact

__all__ = ["artifact_checks"]

Inputs = Mapping[str, np.ndarray]


def artifact_checks() -> Iterator[tuple[str, Callable[[Artifact, Inputs], None]]]:
    """Yield the name and the function of each check; a function takes an artifact and some rows of its inputs."""
    yield "outputs_have_the_promised_shape", check_outputs_have_the_promised_shape
    yield "probabilities_sum_to_one", check_probabilities_sum_to_one
    yield "rows_do_not_see_each_other", check_rows_do_not_see_each_other
    yield "loads_as_it_was_saved", check_loads_as_it_was_saved


def check_outputs_have_the_promised_shape(artifact: Artifact, inputs: Inputs) -> None:
    """Outputs are finite, float32, one row for each input row, one column for each class or value."""
    outputs, width = artifact.outputs(inputs), len(artifact.classes) or 1
    wanted = (_count(inputs), width)
    assert outputs.shape == wanted, f"Outputs must have shape {wanted}, got {outputs.shape}."
    assert outputs.dtype == np.float32, f"Outputs must be float32, got {outputs.dtype}."
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    assert bad == 0, f"Outputs must be finite; {bad} of {len(outputs)} rows are not."


def check_probabilities_sum_to_one(artifact: Artifact, inputs: Inputs) -> None:
    """A classifier's outputs are probabilities: in [0, 1], with a sum of 1 in each row."""
    if artifact.task != "classification":
        return
    outputs = artifact.outputs(inputs)
    is_share = bool(outputs.min() >= 0 and outputs.max() <= 1 + 1e-6)
    assert is_share, f"Probabilities must be in [0, 1], got {outputs.min()} to {outputs.max()}."
    away = float(np.abs(outputs.sum(axis=1) - 1).max())
    assert away < 1e-3, f"Probabilities of a row must sum to 1, one row is off by {away}."


def check_rows_do_not_see_each_other(artifact: Artifact, inputs: Inputs) -> None:
    """A row alone has the outputs that it has among others."""
    together = artifact.outputs(inputs)
    for row in range(min(4, _count(inputs))):
        alone = artifact.outputs({name: array[row : row + 1] for name, array in inputs.items()})
        away = float(np.abs(alone[0] - together[row]).max())
        assert np.allclose(alone[0], together[row], rtol=1e-4, atol=1e-5), (
            f"Row {row} alone differs by {away} from itself in a batch of {_count(inputs)}."
        )


def check_loads_as_it_was_saved(artifact: Artifact, inputs: Inputs) -> None:
    """Saved and loaded, through the guard, it is the same file with the same card and the same outputs."""
    with tempfile.TemporaryDirectory() as folder:
        path = artifact.save(Path(folder))
        length = path.stat().st_size
        loaded = Artifact.load(path)
    assert length == artifact.size, f"The file has {length} bytes, the artifact says {artifact.size}."
    said = artifact.card.get("bytes", length)
    assert said == length, f"The file has {length} bytes, its card says {said}."
    assert loaded.sha256 == artifact.sha256, "The loaded file differs from the saved one."
    assert loaded.card == dict(artifact.card), "The loaded card differs from the saved one."
    assert np.array_equal(loaded.outputs(inputs), artifact.outputs(inputs)), "The loaded file predicts otherwise."


def _count(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))
