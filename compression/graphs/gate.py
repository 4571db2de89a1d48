"""The parity gate for files made from files: coded weights bit for bit, outputs on rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from compression.graphs.shorten import live_nodes
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["check_decoded", "check_outputs", "made_up_rows"]

TOLERANCE = 1e-4  # of the largest output or of 1; sums of some hundred float32 products in another order differ by less
ROWS = 4
FREE_SIZE = 16  # of an axis that the model leaves open, in rows that are made up


def check_decoded(content: bytes, wanted: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Compare the weights that a file decodes with those that were to be written, bit for bit.

    Args:
        content: The file.
        wanted: By name in the file: the weight's own name and its values, float32.

    Raises:
        ArtifactError: Naming every weight that differs.
    """
    model = onnx.load_model_from_string(content)
    plain = {tensor.name: tensor for tensor in model.graph.initializer}
    made = [name for name in wanted if name not in plain]
    del model.graph.input[:]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made)
    nodes = live_nodes(model.graph)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = {name: onnx.numpy_helper.to_array(plain[name]) for name in wanted if name in plain}
    if made:
        decoded = session(model.SerializeToString(), optimized=False).run(made, {})
        found |= dict(zip(made, decoded, strict=True))
    wrong = [own for name, (own, values) in wanted.items() if not _same(found[name], values)]
    if wrong:
        raise ArtifactError(
            f"The file does not decode to the weights that were quantized: {', '.join(wrong)}. It was not written."
        )


def check_outputs(
    content: bytes,
    model: ModelProto,
    rows: Mapping[str, np.ndarray] | None = None,
    *,
    optimized: Sequence[bool] = (True, False),
) -> float:
    """Compare a file with the same model in plain float weights, in ONNX Runtime, optimised and not.

    Args:
        content: The file.
        model: With the values that the file decodes, as float32 initializers.
        rows: Inputs by name; made up if None.
        optimized: With which graph optimisation to run the file: on, off, or both.

    Returns:
        The largest difference of an output, relative to the largest output or to 1, whichever is larger.

    Raises:
        ArtifactError: If it is above the tolerance.
    """
    rows = made_up_rows(model) if rows is None else rows
    expected = session(model.SerializeToString()).run(None, dict(rows))
    names = [value.name for value in model.graph.output]
    worst = 0.0
    for is_on in optimized:
        found = session(content, optimized=is_on).run(names, dict(rows))
        for name, have, want in zip(names, found, expected, strict=True):
            difference = _difference(np.asarray(have), np.asarray(want))
            worst = max(worst, difference)
            if difference > TOLERANCE:
                raise ArtifactError(
                    f"The file does not do what the model with the same weights does: output {name} differs by "
                    f"{difference:.2g} of the largest (at most {TOLERANCE:.0e} is allowed), with graph optimisation "
                    f"{'on' if is_on else 'off'}. The file was not written."
                )
    return worst


def made_up_rows(model: ModelProto, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a few rows for each input: normal numbers, bytes, small whole numbers, or short texts."""
    rng = np.random.default_rng(seed)
    given = {tensor.name for tensor in model.graph.initializer}
    made = {}
    for value in model.graph.input:
        if value.name in given:
            continue
        sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        shape = [size or (ROWS if place == 0 else FREE_SIZE) for place, size in enumerate(sizes)]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if kind.hasobject:
            made[value.name] = np.full(shape, "a", object)
        elif kind.kind == "f":
            made[value.name] = rng.normal(size=shape).astype(kind)
        else:
            made[value.name] = rng.integers(0, 2 if kind.itemsize > 1 else 128, shape).astype(kind)
    return made


def _same(have: np.ndarray, want: np.ndarray) -> bool:
    """Whether all values are equal; a zero may have another sign, which no sum tells."""
    return have.dtype == want.dtype and np.array_equal(have.reshape(-1), want.reshape(-1))


def _difference(have: np.ndarray, want: np.ndarray) -> float:
    if have.shape != want.shape or have.dtype != want.dtype:
        return math.inf
    if have.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(have, want) else math.inf
    both = np.isfinite(have) & np.isfinite(want)
    if not np.array_equal(have[~both], want[~both], equal_nan=True):
        return math.inf
    if not both.any():
        return 0.0
    apart = np.abs(have[both].astype(np.float64) - want[both].astype(np.float64)).max()
    return float(apart / max(1.0, float(np.abs(want[both]).max())))
