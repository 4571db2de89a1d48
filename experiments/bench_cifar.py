"""One network trained for hours on images, on the grid that is written: how good a file of 24 kB gets.

    python -m experiments.bench_cifar data=cifar10.npz out=runs/cifar precision=bfloat16

`data` is an npz file with `x_train`, `y_train`, `x_test`, `y_test`: images, uint8, (n, height, width, channels) or
channels first. A tenth of the training rows validates; every choice is made on them. The test rows are scored once, at
the end, by the file in ONNX Runtime. The network is one of `space=cells`: 3 x 3 convolutions, each added to its input.

After every epoch the state is written to `out`: stop it whenever you like (Ctrl-C or SIGTERM), and the same command
goes on; a training in pieces ends with the same file. `out/log.txt` has a line an epoch. `precision=bfloat16` is
faster on a processor that multiplies in it (AMX); the file is float32 in any case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import torch

from compression.nets.export import export
from compression.nets.memory import macs
from compression.nets.network import Network
from compression.nets.plan import Plan
from compression.nets.train import Examples, Recipe
from engine.artifact import Artifact
from engine.data import Rows, Signature
from engine.errors import SettingsError
from engine.load import DataSettings, load
from engine.score import error_of
from engine.stopping import exit_code, stoppable
from experiments.launch import launch
from experiments.long_training import Epoch, LongTraining
from nas.cells import Genome, Stage
from nas.network import plan_of

__all__ = ["Settings", "network_plan", "run", "trained"]

RESIDUAL = ("conv3", "skip", "skip")  # of a cell with three nodes: the convolution, and past it the input
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MOST_BYTES, LEAST_ACCURACY = 24_000, 0.85
RECIPE = Recipe(epochs=160, batch_rows=128, learning_rate=0.006, weight_decay=0.05, smoothing=0.0, shift=4, flip=True,
                quantize_at=0.4)  # fmt: skip


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands.

    Args:
        data: npz file.
        out: Folder of state, log and file.
        seed: Of the split, the first weights, the order of rows and their augmentation.
        coding: Of the weights, except those of the first and the last layer.
        edge_coding: Of these.
        widths: Channels of each stage; the first is that of the first layer, each further one halves the image.
        depths: Convolutions of each stage beyond the one that leads into it.
        precision: Of products and convolutions during training.
        train: How to train; from `quantize_at` on weights are on their grid.
    """

    data: str
    out: str
    seed: int = 0
    coding: str = "ternary"
    edge_coding: str = "int8"
    widths: list[int] = field(default_factory=lambda: [16, 32, 48])
    depths: list[int] = field(default_factory=lambda: [0, 4, 2])
    precision: Literal["float32", "bfloat16"] = "float32"
    train: Recipe = RECIPE

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise SettingsError(f"widths and depths must name the same stages, got {self.widths} and {self.depths}.")


def network_plan(settings: Settings, signature: Signature) -> Plan:
    """Return the plan: a first layer, and stages of residual convolutions."""
    stages = tuple(
        Stage(width, depth, 2 if number else 1, settings.coding, 1.0)
        for number, (width, depth) in enumerate(zip(settings.widths, settings.depths, strict=True))
    )
    edge = settings.edge_coding
    return plan_of(Genome(3, RESIDUAL, stages, "conv3", edge, edge), signature)


def trained(settings: Settings, signature: Signature, train: Rows, valid: Rows) -> Iterator[Epoch | Artifact]:
    """Yield the epochs that are still to do, and the file behind the parity gate at last.

    Args:
        settings: As given.
        signature: Of the rows.
        train: To learn from.
        valid: For the errors that are told.

    Raises:
        SettingsError: If the state in the folder is that of other settings.
    """
    torch.set_num_threads(1)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    _check_same(settings, out / "settings.json")
    torch.manual_seed(settings.seed)
    network = Network(network_plan(settings, signature))
    training = LongTraining(
        network,
        Examples.of(train, signature),
        settings.train,
        seed=settings.seed,
        dtype=DTYPES[settings.precision],
        state=out / "state.npz",
    )
    yield from training.epochs(Examples.of(valid, signature))
    artifact = export(training.finished(), valid.inputs()["x"], seed=settings.seed, is_winner=True)
    error = error_of(artifact.outputs(valid.inputs()), valid, metric="accuracy", task=signature.task)
    yield replace(artifact, card={**artifact.card, "validation": {"error": error, "rows": len(valid)}})


def run(settings: Settings) -> int:
    """Train on, or show what came of it."""
    out = Path(settings.out)
    if (out / "card.json").exists():  # it is written last
        return _show(Artifact.load(out))
    loaded = load(DataSettings("npz", path=settings.data, valid_share=0.1), seed=settings.seed)
    signature, train, valid = loaded.dataset.signature, loaded.dataset.train(-1), loaded.dataset.valid(-1)
    if loaded.test is None:
        raise SettingsError(f"{settings.data} must hold test rows: x_test and y_test.")
    plan, tell = network_plan(settings, signature), _teller(out / "log.txt")
    tell(
        f"{len(train)} rows, {len(valid)} for validation; {plan.parameters:,} parameters, {macs(plan):,} multiply-adds"
    )
    try:
        for told in trained(settings, signature, train, valid):
            if isinstance(told, Artifact):
                return _show(_scored(told, loaded.test, signature, out))
            tell(_line(told, settings.train.epochs))
    except KeyboardInterrupt as stop:
        tell("stopped: the same command goes on after the last epoch")
        return exit_code(stop)
    raise AssertionError("a training ends with a file")


def _scored(artifact: Artifact, test: Rows, signature: Signature, out: Path) -> Artifact:
    """Look at the test rows, and save the file with what it said of them."""
    error = error_of(artifact.outputs(test.inputs()), test, metric="accuracy", task=signature.task)
    scored = replace(artifact, card={**artifact.card, "test": {"error": error, "rows": len(test)}})
    scored.save(out)
    return scored


def _line(told: Epoch, epochs: float) -> str:
    form = "quantized" if told.is_quantized else "float"
    return (
        f"epoch {told.number}/{epochs:g}: loss {told.loss:.3f}, validation error {told.error:.2%} ({form}), "
        f"{told.seconds:.0f} s, {told.processor_seconds:.0f} s of the processor"
    )


def _check_same(settings: Settings, path: Path) -> None:
    """Keep the settings beside the state, and hold later calls to them."""
    told = {name: value for name, value in asdict(settings).items() if name not in ("data", "out")}
    if not path.exists():
        path.write_text(json.dumps(told, indent=2) + "\n")
    kept = json.loads(path.read_text())
    other = [name for name in told if kept.get(name) != told[name]]
    if other:
        raise SettingsError(
            f"{path.parent} holds a training with other settings: {', '.join(other)}. Give those of {path}, or another "
            "folder."
        )


def _teller(path: Path) -> Callable[[str], Any]:
    path.parent.mkdir(parents=True, exist_ok=True)

    def tell(line: str) -> None:
        with path.open("a") as log:
            log.write(line + "\n")
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    return tell


def _show(artifact: Artifact) -> int:
    card = artifact.card
    accuracy = 1 - card["test"]["error"]
    is_reached = artifact.size <= MOST_BYTES and accuracy >= LEAST_ACCURACY
    sys.stdout.write(
        f"{artifact.size:,} bytes, {card['parameters']:,} parameters, {card['coding']}: accuracy {accuracy:.2%} on "
        f"{card['test']['rows']:,} test rows, {1 - card['validation']['error']:.2%} on validation rows; "
        f"at least {LEAST_ACCURACY:.0%} in {MOST_BYTES:,} bytes: {'reached' if is_reached else 'NOT reached'}\n"
    )
    return 0


if __name__ == "__main__":
    with stoppable():
        sys.exit(launch(Settings, run, __doc__))
