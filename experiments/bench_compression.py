"""What compression reaches, beside its peers.

    python -m experiments.bench_compression [peers.nncf=/path/to/python] [peers.tflite=/path/to/python] [seed=0]

Container only: the shape of MLPerf Tiny's ResNet-8 (77,946 parameters) with random weights. Bytes, latency and memory
are real, accuracy means nothing here. Each file is opened in a process of its own, ours in ONNX Runtime as any user
opens it; latency is the median of one row on one thread, the files taken in turn; memory is by how much opening and
running the file raised the peak of that process (Linux). `peers` are interpreters that have nncf, and litert-torch with
ai-edge-litert; without one, its row is skipped.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import final

import numpy as np
import onnx
import torch
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
from compression.modules.importing import read_network
from experiments.launch import launch

PARAMETERS = 77_946
REFERENCE = 98_496  # bytes of the reference's own int8 .tflite file, github.com/mlcommons/tiny
CALIBRATION_ROWS = 128
# coding, density, and the most bytes that it may take
CODED = (
    ("int8", 1.0, 82_000), ("int4", 1.0, 43_000), ("palette4", 1.0, None), ("int2", 1.0, None),
    ("ternary", 1.0, 20_500), ("sparse4", 0.1, 19_000),
)  # fmt: skip
SCRIPT = Path(__file__).with_name("container_peers.py")
ROUNDS = 15


@final
@dataclass(frozen=True)
class Peers:
    """Interpreters that have them."""

    nncf: str | None = None
    tflite: str | None = None


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    peers: Peers = field(default_factory=Peers)
    repeats: int = 20
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


def by_peer(name: str, interpreter: str | None, base: ModelProto, rows: np.ndarray, folder: Path) -> Path | str:
    """Return a peer's file, or why there is none."""
    if interpreter is None:
        return f"skipped: no interpreter peers.{name}= was given"
    given, calibration = folder / ("model.onnx" if name == "nncf" else "module.pt2"), folder / "rows.npy"
    made = folder / ("nncf.onnx" if name == "nncf" else "litert.tflite")
    if name == "nncf":
        given.write_bytes(base.SerializeToString())
    else:
        network = read_network(base.SerializeToString()).eval()
        torch.export.save(torch.export.export(network, (torch.from_numpy(rows[:1]),)), given)
    np.save(calibration, rows)
    command = [interpreter, str(SCRIPT), name, str(given), str(calibration), str(made)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"skipped: {interpreter} cannot be run: {error.strerror}"
    if found.returncode or not made.exists():
        return f"skipped: {(found.stderr.strip().splitlines() or ['no message'])[-1][:80]}"
    return made


def measured(files: Mapping[str, Path], settings: Settings, rows: Path) -> dict[str, tuple[float, int]]:
    """Return the median microseconds of one row of each file, and the bytes that it raised its process's peak by."""
    running: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as ending:
        for name, path in files.items():
            interpreter = settings.peers.tflite if path.suffix == ".tflite" else sys.executable
            command = [str(interpreter), str(SCRIPT), "run", str(path), str(rows)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            running[name] = ending.enter_context(process)  # its end closes the pipes, which ends the process
        memory = {name: int(_line(process)) for name, process in running.items()}
        seconds: dict[str, list[float]] = {name: [] for name in files}
        for turn in range(ROUNDS + 1):
            for name, process in running.items():
                assert process.stdin is not None
                process.stdin.write(f"{settings.repeats}\n")
                process.stdin.flush()
                told = float(_line(process))
                if turn:  # the first turn warms up
                    seconds[name].append(told)
    return {name: (median(seconds[name]) * 1e6, memory[name]) for name in files}


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} ended with {process.wait()}: its own message stands above")
    return line


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
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{place}.onnx") for place, name in enumerate(files)}
        for name, path in paths.items():
            path.write_bytes(files[name])
        skipped = {}
        for name, label in (("nncf", "NNCF int8"), ("tflite", "LiteRT int8, .tflite")):
            made = by_peer(name, getattr(settings.peers, name), base, rows, Path(folder))
            if isinstance(made, str):
                skipped[label] = made
            else:
                paths[label] = made
        np.save(Path(folder, "rows.npy"), rows)
        found = measured(paths, settings, Path(folder, "rows.npy"))
        lengths = {name: path.stat().st_size for name, path in paths.items()}
    whole, _ = found["float32, stripped"]
    table = Table("file", "bytes", "limit", "bit/parameter", "latency us", "x float32", "memory MB")
    for name, length in lengths.items():
        limit = limits.get(name)
        told = "-" if limit is None else f"<= {limit}: {'yes' if length <= limit else 'NO'}"
        latency, memory = found[name]
        table.add_row(name, str(length), told, f"{8 * length / PARAMETERS:.2f}", f"{latency:.0f}",
                      f"{latency / whole:.2f}", f"{memory / 1e6:.2f}")  # fmt: skip
    table.add_row("MLPerf Tiny reference, int8 .tflite", str(REFERENCE), "-", f"{8 * REFERENCE / PARAMETERS:.2f}")
    for label, why in skipped.items():
        table.add_row(label, why)
    Console(width=140).print("Container only: ResNet-8 shape, random weights; latency of one row, one thread", table)
    return 0


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
