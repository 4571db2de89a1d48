"""Other quantizers on one network, and the process that runs a file of theirs or ours; in an interpreter of its own.

    python container_peers.py nncf MODEL.onnx ROWS.npy OUT.onnx
    python container_peers.py tflite MODULE.pt2 ROWS.npy OUT.tflite
    python container_peers.py run FILE ROWS.npy

`run` opens a file, `.onnx` in ONNX Runtime and `.tflite` in LiteRT, on one thread, runs the first row, and prints the
bytes by which that raised the peak resident memory of a process that had imported the runtime (Linux tells them). Then
it answers every line that it reads, a count, with the median seconds of so many runs: files of several runtimes take
turns.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

__all__ = ["main"]

STATUS = Path("/proc/self/status")

RunRow = Callable[[], Any]


def nncf(model: str, rows: np.ndarray, out: str) -> None:
    """Write NNCF's eight-bit file."""
    onnx, library = importlib.import_module("onnx"), importlib.import_module("nncf")
    made = library.quantize(onnx.load(model), library.Dataset([{"x": row[None]} for row in rows]))
    onnx.save(made, out)


def tflite(module: str, rows: np.ndarray, out: str) -> None:
    """Write LiteRT's file, weights of each channel and activations in eight bits."""
    torch = importlib.import_module("torch")
    library = importlib.import_module("litert_torch")
    configuration = importlib.import_module("litert_torch.quantize.quant_config")
    quantizer = importlib.import_module("litert_torch.quantize.pt2e_quantizer")
    export = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    symmetric = quantizer.get_symmetric_quantization_config(is_per_channel=True)
    chosen = quantizer.PT2EQuantizer().set_global(symmetric)
    example = (torch.from_numpy(rows[:1]),)
    prepared = export.prepare_pt2e(torch.export.load(module).module(), chosen)
    for row in rows:
        prepared(torch.from_numpy(row[None]))
    quantized = export.convert_pt2e(prepared, fold_quantize=False)
    made = library.convert(quantized, example, quant_config=configuration.QuantConfig(pt2e_quantizer=chosen))
    made.export(out)


def onnx_row(path: str, row: np.ndarray) -> RunRow:
    """Open a file in ONNX Runtime."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": row})


def tflite_row(path: str, row: np.ndarray) -> RunRow:
    """Open a file in LiteRT, with its own optimised kernels."""
    runtime = importlib.import_module("ai_edge_litert.interpreter")
    opened = runtime.Interpreter(model_path=path, num_threads=1)
    opened.allocate_tensors()
    taken, given = opened.get_input_details()[0], opened.get_output_details()[0]["index"]
    if taken["dtype"] != np.float32:  # the caller's work with such a file, once for a row
        scale, zero = taken["quantization"]
        limits = np.iinfo(taken["dtype"])
        row = np.clip(np.rint(row / scale) + zero, limits.min, limits.max).astype(taken["dtype"])

    def run() -> Any:
        opened.set_tensor(taken["index"], row)
        opened.invoke()
        return opened.get_tensor(given)

    return run


def peak_bytes() -> int:
    """Return the most memory that this process has had resident since `forget`; 0 where the system does not tell."""
    if not STATUS.exists():
        return 0
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def forget() -> None:
    """Begin anew with the peak: what an import took for a moment does not hide what a file takes."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


def serve(path: str, row: np.ndarray) -> None:
    """Open a file, tell its memory, and time it whenever asked."""
    opened, module = (
        (tflite_row, "ai_edge_litert.interpreter") if path.endswith(".tflite") else (onnx_row, "onnxruntime")
    )
    importlib.import_module(module)
    forget()
    before = peak_bytes()
    run = opened(path, row)
    run()
    print(peak_bytes() - before, flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(median(seconds), flush=True)


def main(arguments: list[str]) -> int:
    """Do what the first argument names."""
    match arguments:
        case ["run", path, rows]:
            serve(path, np.load(rows, allow_pickle=False)[:1])
        case ["nncf" | "tflite" as name, model, rows, out]:
            {"nncf": nncf, "tflite": tflite}[name](model, np.load(rows, allow_pickle=False), out)
        case _:
            raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
