"""Other compressors on a trained network; runs in an interpreter of its own, where they are installed.

    python compression_peers.py PEER REQUEST.json

The request names `net`, `seed`, `folder` (with model.onnx, state.npz and rows.npz: training and validation rows) and
`out`. Every file that a peer makes goes to `out`; answer.json there lists `files`, each with name and path, `failed`,
with what went wrong by name, and the versions.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np

__all__ = ["PEERS", "main"]

CALIBRATION_ROWS = 512
MAX_DROP = 0.003  # of accuracy, what the search for a file is told
OLIVE_TRIALS = 24
SHARES = (0.25, 0.5, 0.625, 0.75)  # of the channels that Torch-Pruning removes
VERSIONS = ("onnx", "onnxruntime", "torch", "nncf", "torch-pruning", "olive-ai")


@final
@dataclass(frozen=True)
class Job:
    """What there is to compress.

    Args:
        net: Name of the network.
        seed: Of everything drawn.
        folder: Where the network and its rows are.
        out: Where files go.
        rows: Arrays of rows.npz.
    """

    net: str
    seed: int
    folder: Path
    out: Path
    rows: Mapping[str, np.ndarray]

    @property
    def model(self) -> Path:
        """The network as its exporter wrote it."""
        return self.folder / "model.onnx"

    @property
    def calibration(self) -> np.ndarray:
        """Training rows to calibrate by."""
        return self.rows["x_train"][:CALIBRATION_ROWS]


Way = tuple[str, Callable[[Path], None]]


def main() -> None:
    """Run one peer, each of its ways by itself: one that fails is told, and the others go on."""
    peer, request = sys.argv[1:3]
    told = json.loads(Path(request).read_text())
    folder, out = Path(told["folder"]), Path(told["out"])
    out.mkdir(parents=True, exist_ok=True)
    with np.load(folder / "rows.npz", allow_pickle=False) as arrays:
        rows = {name: arrays[name] for name in arrays.files}
    job = Job(told["net"], told["seed"], folder, out, rows)
    files, failed = [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ways, name = PEERS[peer](job), "all"
        while True:
            try:
                name = "all"
                name, make = next(ways)
                path = out / f"{name.replace(' ', '_').replace(',', '')}.onnx"
                make(path)
                files.append({"name": name, "path": str(path)})
            except StopIteration:
                break
            except Exception as error:  # whatever a peer raises is its row of the table
                failed[name] = f"{type(error).__name__}: {error}"[:300]
    answer = {"files": files, "failed": failed, "versions": _versions()}
    (out / "answer.json").write_text(json.dumps(answer))


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _runtime(job: Job) -> Iterator[Way]:
    """ONNX Runtime's own quantizer, the ways its documentation names."""
    yield "dynamic", partial(_dynamic, job.model)
    for name, options in STATIC.items():
        yield name, partial(_static, job, job.model, **options)


STATIC: dict[str, dict[str, Any]] = {
    "QDQ, int8": {},
    "QOperator, int8": {"form": "QOperator"},
    "QDQ, int8, entropy": {"method": "Entropy"},
    "QDQ, int4 weights": {"weights": "QInt4"},
}


def _dynamic(model: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(model), str(path), per_channel=True)


def _static(
    job: Job, model: Path, path: Path, *, form: str = "QDQ", method: str = "MinMax", weights: str = "QInt8"
) -> None:
    """Quantize with folded normalisations, per channel, unsigned activations, as advised for x86."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(np.array_split(job.calibration, 16))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"x": batch}

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Reader(),
        quant_format=QuantFormat[form],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType[weights],
        calibrate_method=CalibrationMethod[method],
    )
    prepared.unlink()


def _nncf(job: Job) -> Iterator[Way]:
    """NNCF on the ONNX file: both presets, quantization with accuracy control, and compression of weights alone."""
    import onnx

    nncf: Any = importlib.import_module("nncf")

    rows = nncf.Dataset([{"x": batch} for batch in np.array_split(job.calibration, len(job.calibration))])
    valid = nncf.Dataset(list(zip(job.rows["x_valid"][:, None], job.rows["y_valid"], strict=True)),
                         lambda pair: {"x": pair[0]})  # fmt: skip

    def saved(made: Callable[[Any], Any]) -> Callable[[Path], None]:
        return lambda path: onnx.save(made(onnx.load(str(job.model))), str(path))

    def accuracy(model: Any, items: Any) -> float:
        import onnxruntime

        opened = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pairs = list(items)
        return float(np.mean([opened.run(None, {"x": x})[0].argmax() == y for x, y in pairs]))

    for preset in ("PERFORMANCE", "MIXED"):
        options: dict[str, Any] = {"preset": nncf.QuantizationPreset[preset], "fast_bias_correction": preset == "MIXED"}
        yield f"int8, {preset.lower()}", saved(partial(nncf.quantize, calibration_dataset=rows, **options))
    control: dict[str, Any] = {"validation_dataset": valid, "validation_fn": accuracy, "max_drop": MAX_DROP}
    yield (
        "int8, accuracy control",
        saved(partial(nncf.quantize_with_accuracy_control, calibration_dataset=rows, **control)),
    )
    for mode in ("INT8_ASYM", "INT4_SYM"):
        yield (
            f"weights, {mode.lower()}",
            saved(partial(nncf.compress_weights, mode=nncf.CompressWeightsMode[mode])),
        )


def _torch_pruning(job: Job) -> Iterator[Way]:
    """Torch-Pruning: channels removed, trained on, then ONNX Runtime's quantizer."""
    sys.path.append(str(Path(__file__).parent))
    nets = importlib.import_module("trained_nets")
    for share in SHARES:
        name, pruned = f"{share:.1%} removed", job.out / f"pruned_{share}.onnx"
        yield f"{name}, float32", partial(_prune, job, nets, share, pruned)
        for way in ("QDQ, int8", "QOperator, int8"):
            yield f"{name}, {way}", partial(_static, job, pruned, **STATIC[way])


def _prune(job: Job, nets: Any, share: float, pruned: Path, path: Path) -> None:
    """Remove a share of the channels, by first-order Taylor expansion, and train on as long as the network was."""
    import torch

    torch_pruning: Any = importlib.import_module("torch_pruning")
    module = nets.module_of(job.net, job.rows, job.seed)
    nets.read_state(module, job.folder / "state.npz")
    x, y = (torch.from_numpy(job.rows[name][:CALIBRATION_ROWS]) for name in ("x_train", "y_train"))
    torch.autograd.backward(torch.nn.functional.cross_entropy(module.eval()(x), y))
    importance = torch_pruning.importance.GroupTaylorImportance()
    options: dict[str, Any] = {"importance": importance, "pruning_ratio": share, "ignored_layers": [module.head]}
    torch_pruning.pruner.BasePruner(module, x[:1], **options).step()
    nets.fit(module, job.rows, epochs=nets.NETS[job.net].epochs, rate=0.005, seed=job.seed)
    nets.export(module, job.rows["x_train"].shape[1:], pruned)
    shutil.copy(pruned, path)


def _olive(job: Job) -> Iterator[Way]:
    """Olive: a joint search over its quantization pass and that pass's settings, for accuracy and size on disk."""
    import torch

    olive, registry = importlib.import_module("olive"), importlib.import_module("olive.data.registry").Registry

    class Labelled(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, part: str, count: int | None) -> None:
            self.x, self.y = job.rows[f"x_{part}"][:count], job.rows[f"y_{part}"][:count]

        def __len__(self) -> int:
            return len(self.x)

        def __getitem__(self, number: int) -> tuple[dict[str, Any], int]:
            return {"x": torch.from_numpy(self.x[number])}, int(self.y[number])

    registry.register_dataset("peer_calibration")(lambda **_: Labelled("train", CALIBRATION_ROWS))
    registry.register_dataset("peer_validation")(lambda **_: Labelled("valid", None))
    registry.register_post_process("peer_labels")(lambda outputs, **_: outputs.argmax(dim=1))
    size = {"name": "bytes", "priority": 1, "higher_is_better": False}
    right = {"name": "accuracy_score", "priority": 2, "metric_config": {"task": "multiclass", "num_classes": 10},
             "goal": {"type": "max-degradation", "value": MAX_DROP}}  # fmt: skip
    metrics = [
        {"name": "accuracy", "type": "accuracy", "backend": "torch_metrics", "data_config": "validation",
         "sub_types": [right]},
        {"name": "size", "type": "size_on_disk", "sub_types": [size]},
    ]  # fmt: skip
    data = [
        {
            "name": name,
            "load_dataset_config": {"type": f"peer_{name}"},
            "pre_process_data_config": {"type": "skip_pre_process"},
            "post_process_data_config": {"type": "peer_labels"},
            "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 64, "drop_last": False}},
        }
        for name in ("calibration", "validation")
    ]
    device = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    found = olive.run(
        {
            "input_model": {"type": "OnnxModel", "model_path": str(job.model)},
            "systems": {"here": {"type": "LocalSystem", "accelerators": [device]}},
            "data_configs": data,
            "evaluators": {"both": {"type": "OnnxEvaluator", "metrics": metrics}},
            "passes": {"quantization": {"type": "OnnxQuantization", "data_config": "calibration"}},
            "search_strategy": {
                "execution_order": "joint",
                "sampler": "tpe",
                "max_iter": OLIVE_TRIALS,
                "sampler_config": {"seed": job.seed, "max_samples": OLIVE_TRIALS},
            },
            "evaluator": "both",
            "host": "here",
            "target": "here",
            "cache_dir": str(job.out / "cache"),
            "output_dir": str(job.out / "found"),
            "log_severity_level": 3,
        }
    )
    for number, model in enumerate(found.get_output_models()):
        yield f"joint search, {number}", partial(_copied, Path(model.model_path))


def _copied(source: Path, path: Path) -> None:
    files = sorted(source.glob("*.onnx")) if source.is_dir() else [source]
    shutil.copy(files[0], path)


PEERS: dict[str, Callable[[Job], Iterator[Way]]] = {
    "ort": _runtime, "nncf": _nncf, "torch_pruning": _torch_pruning, "olive": _olive,
}  # fmt: skip


if __name__ == "__main__":
    main()
