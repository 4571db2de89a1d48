"""What compression reaches, beside its peers.

    python -m experiments.bench_compression [peer=/path/to/python] [repeats=300] [seed=0]

Container only: the shape of MLPerf Tiny's ResNet-8 (77,946 parameters) with random weights. Bytes and latency are real,
accuracy means nothing here. Each of our files is opened in ONNX Runtime as any user opens it; latencies are medians of
one row on one thread, the files taken in turn. `peer` is an interpreter that has nncf; without it, its row is skipped.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from compression.codings import PALETTES
from compression.graphs.apply import halved
from compression.graphs.fold import simplified
from compression.graphs.integer import integer, quantized_by_runtime
from compression.graphs.palette import codebook_for
from compression.graphs.recode import Recoded, recode
from compression.graphs.rounding import rounded
from compression.graphs.strip import stripped
from compression.graphs.weighted import layers_of
from engine.artifact import session
from engine.command import main_guard
from engine.settings import build, from_arguments

PARAMETERS = 77_946
REFERENCE = 98_496  # bytes of the reference's own int8 .tflite file, github.com/mlcommons/tiny
CALIBRATION_ROWS = 128
# coding, density, and the most bytes that it may take
CODED = (
    ("int8", 1.0, 82_000), ("int4", 1.0, 43_000), ("palette4", 1.0, None), ("int2", 1.0, None),
    ("ternary", 1.0, 20_500), ("sparse4", 0.1, 19_000),
)  # fmt: skip
NNCF = """
import sys, numpy, onnx, nncf
rows = numpy.load(sys.argv[3])
made = nncf.quantize(onnx.load(sys.argv[1]), nncf.Dataset([{"x": row[None]} for row in rows]))
onnx.save(made, sys.argv[2])
"""


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    peer: str | None = None
    repeats: int = 300
    seed: int = 0


def resnet8(seed: int) -> ModelProto:
    """Return the shape of MLPerf Tiny's ResNet-8 with random weights: normalisations unfolded, two biased shortcuts."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    tensors: list[TensorProto] = []

    def tensor(values: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(values.astype(np.float32), f"w{len(tensors)}"))
        return str(tensors[-1].name)

    def node(operator: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def convolution(x: str, width: int, out: int, kernel: int, stride: int, *, is_shortcut: bool = False) -> str:
        weight = tensor(rng.normal(size=(out, width, kernel, kernel)) * (2 / (width * kernel**2)) ** 0.5)
        bias = [tensor(rng.normal(size=out) * 0.1)] if is_shortcut else []
        made = node("Conv", x, weight, *bias, strides=[stride] * 2, pads=[kernel // 2] * 4)
        if is_shortcut:
            return made
        scale, shift, mean = (tensor(rng.normal(size=out) * 0.1 + level) for level in (1, 0, 0))
        return node("BatchNormalization", made, scale, shift, mean, tensor(rng.uniform(0.5, 1.5, out)))

    x = node("Relu", convolution("x", 3, 16, 3, 1))
    for width, out, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        inner = node("Relu", convolution(x, width, out, 3, stride))
        inner = convolution(inner, out, out, 3, 1)
        x = x if width == out else convolution(x, width, out, 1, stride, is_shortcut=True)
        x = node("Relu", node("Add", x, inner))
    x = node("Flatten", node("GlobalAveragePool", x))
    x = node("Gemm", x, tensor(rng.normal(size=(64, 10)) * 0.2), tensor(np.zeros(10)))
    nodes.append(helper.make_node("Softmax", [x], ["y"]))
    graph = helper.make_graph(
        nodes,
        "resnet8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def parameters_of(model: ModelProto) -> int:
    """Count the weights that training would change: all but the moments of the normalisations."""
    moments = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:]}
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.name not in moments)


def coded(base: ModelProto, coding: str, density: float) -> bytes:
    """Return the file with every weight in one coding, each rounded to the nearest level."""
    layers = layers_of(base)
    book = codebook_for(layers, PALETTES[coding]) if coding in PALETTES else None
    weights: dict[str, Recoded] = {
        layer.weight: rounded(layer, coding, density=density, codebook=book).weight for layer in layers
    }
    return recode(base, weights | halved(base, besides=weights))


def by_nncf(interpreter: str | None, model: ModelProto, rows: np.ndarray) -> bytes | str:
    """Return NNCF's int8 file, or why there is none."""
    if interpreter is None:
        return "skipped: no peer= interpreter with nncf was given"
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("model.onnx", "made.onnx", "rows.npy")]
        Path(paths[0]).write_bytes(model.SerializeToString())
        np.save(paths[2], rows)
        try:
            found = subprocess.run([interpreter, "-c", NNCF, *paths], capture_output=True, text=True, check=False)
        except OSError as error:
            return f"skipped: {interpreter} cannot be run: {error.strerror}"
        if found.returncode or not Path(paths[1]).exists():
            lines = found.stderr.strip().splitlines() or ["no message"]
            return f"skipped: {lines[-1][:80]}"
        return Path(paths[1]).read_bytes()


def latencies(files: Mapping[str, bytes], row: np.ndarray, repeats: int) -> dict[str, float]:
    """Return the median time of one row of each file, in microseconds; the files are taken in turn."""
    opened = {name: session(content) for name, content in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for repeat in range(repeats + 20):
        for name, file in opened.items():
            start = time.perf_counter()
            file.run(None, {"x": row})
            if repeat >= 20:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times) * 1e6) for name, times in seconds.items()}


def run(settings: Settings) -> int:
    """Print the table."""
    model = resnet8(settings.seed)
    if parameters_of(model) != PARAMETERS:
        raise SystemExit(f"the shape has {parameters_of(model)} parameters, it must have {PARAMETERS}")
    base = simplified(model)
    rows = np.random.default_rng(settings.seed).normal(size=(CALIBRATION_ROWS, 3, 32, 32)).astype(np.float32)
    files = {
        "float32, as exported": model.SerializeToString(),
        "float32, stripped": stripped(model).SerializeToString(),
    }
    limits: dict[str, int | None] = {}
    for coding, density, limit in CODED:
        name = coding if density == 1 else f"{coding}, {1 - density:.0%} sparse"
        files[name], limits[name] = coded(base, coding, density), limit
    files["ORT quantize_static, per channel"] = quantized_by_runtime(base, {"x": rows}).SerializeToString()
    files["the same, stripped (to=integer)"] = integer(base, {"x": rows})
    nncf = by_nncf(settings.peer, base, rows)
    if isinstance(nncf, bytes):
        files["NNCF int8"] = nncf
    times = latencies(files, rows[:1], settings.repeats)
    whole = times["float32, stripped"]
    table = Table("file", "bytes", "limit", "bit/parameter", "latency us", "x float32")
    for name, content in files.items():
        limit = limits.get(name)
        told = "-" if limit is None else f"<= {limit}: {'yes' if len(content) <= limit else 'NO'}"
        bits = f"{8 * len(content) / PARAMETERS:.2f}"
        table.add_row(name, str(len(content)), told, bits, f"{times[name]:.0f}", f"{times[name] / whole:.2f}")
    table.add_row(
        "MLPerf Tiny reference, int8 .tflite", str(REFERENCE), "-", f"{8 * REFERENCE / PARAMETERS:.2f}", "-", "-"
    )
    if isinstance(nncf, str):
        table.add_row("NNCF int8", nncf, "", "", "", "")
    Console(width=130).print("Container only: ResNet-8 shape, random weights; latency of one row, one thread", table)
    return 0


if __name__ == "__main__":
    sys.exit(main_guard(lambda: run(build(Settings, from_arguments(sys.argv[1:])))))
