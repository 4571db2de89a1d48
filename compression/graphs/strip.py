"""The canonical minimal form of any ONNX model, with the same outputs."""

from __future__ import annotations

from onnx import ModelProto

from compression.graphs.fold import simplified
from compression.graphs.shorten import shortened

__all__ = ["stripped"]


def stripped(model: ModelProto) -> ModelProto:
    """Return the smallest model of the same operators that does the same.

    First the graph is made smaller (`compression.graphs.fold.simplified`: constants, Identity, Dropout and
    normalisations), then what is left is written in as few bytes as ONNX allows
    (`compression.graphs.shorten.shortened`). Inputs and outputs keep their names, their types and their known sizes;
    class and column names in the metadata stay. Nothing is quantized: outputs are the same, to the last bits of float32
    where a normalisation is folded. A stripped model is its own stripped form.

    Args:
        model: Any model without external data; left as it is.

    Example:
        >>> from onnx import parser
        >>> wordy = parser.parse_model('''<ir_version: 8, opset_import: ["" : 17], producer_name: "somebody">
        ... net (float[N, 4] x) => (float[N, 4] y) { same = Identity(x) y = LeakyRelu <alpha = 0.01> (same) }''')
        >>> small = stripped(wordy)
        >>> [node.op_type for node in small.graph.node], len(wordy.SerializeToString()), len(small.SerializeToString())
        (['LeakyRelu'], 133, 68)
    """
    return shortened(simplified(model))[0]
