"""Integer execution: activations and weights as eight-bit integers, by ONNX Runtime's own quantizer."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from compression.graphs.calibrate import BATCH_ROWS, first_rows, fixed_batch
from compression.graphs.gate import check_outputs
from compression.graphs.opset import raised
from compression.graphs.shorten import shortened
from engine.errors import ArtifactError

__all__ = ["integer", "quantized_by_runtime"]

PER_CHANNEL_OPSET = 13  # from which on scales of a weight may differ by channel


def integer(model: ModelProto, rows: Mapping[str, np.ndarray]) -> bytes:
    """Return a file that computes with eight-bit integers: unsigned activations, signed weights.

    Weights have a scale for each output channel. Ranges are the smallest and largest values on the calibration rows.
    The file holds pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses into integer operators; what
    its quantizer writes beside them is stripped. It pays in time from some 50,000 weights on; for size alone the weight
    codings are better.

    Args:
        model: Simplified (`compression.graphs.fold.simplified`); left as it is.
        rows: Calibration rows, by name of the input; 100 to 300 are enough.

    Raises:
        ArtifactError: If ONNX Runtime cannot quantize the model, or stripping changed what it computes.
    """
    written = quantized_by_runtime(model, rows)
    content: bytes = shortened(written)[0].SerializeToString(deterministic=True)
    check_outputs(content, written, first_rows(model, rows), optimized=(True,))
    return content


def quantized_by_runtime(model: ModelProto, rows: Mapping[str, np.ndarray]) -> ModelProto:
    """Return what ONNX Runtime's quantizer writes, as it is; see `integer`."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    given = raised(model, PER_CHANNEL_OPSET)
    chatty = logging.getLogger()
    level = chatty.level
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "integer.onnx")
        source.write_bytes(given.SerializeToString())
        chatty.setLevel(logging.ERROR)
        try:
            quantize_static(
                source, target, _reader(model, rows), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        except Exception as error:  # its exception types share no public root
            raise ArtifactError(f"ONNX Runtime cannot quantize this model to integers: {error}") from error
        finally:
            chatty.setLevel(level)
        return onnx.load(target)


def _reader(model: ModelProto, rows: Mapping[str, np.ndarray]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Calibration rows, a batch at a time."""

        def __init__(self) -> None:
            self._batches = _batches(model, rows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next batch, None at the end."""
            return next(self._batches, None)

    return Reader()


def _batches(model: ModelProto, rows: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    size = fixed_batch(model)
    count = len(next(iter(rows.values())))
    for start in range(0, count, size or BATCH_ROWS):
        if not size or start + size <= count:
            yield {name: values[start : start + (size or BATCH_ROWS)] for name, values in rows.items()}
