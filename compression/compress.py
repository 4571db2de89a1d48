"""Compress a model that you already have, without training it.

    python -m compression.compress model=m.onnx data=npz data.path=d.npz to=int4 out=small.onnx

model     an ONNX file with one data input, of any name and shape, and an output of class scores or values
data      where rows are, as in `nas.search`: npz, csv, images, ...; data.path, data.target, data.task, ... (digits)
          Codes are chosen by training rows and files by validation rows; test rows give the last figure only. An npz
          file without targets will do: then the original's own outputs are matched.
to        float16, int8, int4, int2, ternary, palette, sparse: that coding for all layers
          integer: eight-bit activations too, for speed in nets of some 50,000 weights and more
          auto: a coding for each layer, the smallest file within max_drop
          recipe.yaml: a coding for each layer as the file says
out       the file to write; what is known of it goes beside it, to <out without .onnx>.card.json
cost      for auto: bytes (the smallest file within max_drop), or latency_us (integer execution instead, where it keeps
          max_drop and takes less time than that file, both measured in turn on this machine)
max_drop  for auto: by how much the error on validation rows may rise (0.01: one point of accuracy; for values: of RMSE
          over their standard deviation)
density   for sparse: share of the weights that stay (0.5)
seed      of the split into training, validation and test rows (0)
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import onnx
from onnx import ModelProto

from compression.graphs.apply import Choice, apply
from compression.graphs.automatic import Candidate, smallest_within
from compression.graphs.choices import read_choices, uniform
from compression.graphs.execution import Executed, compared
from compression.graphs.fold import simplified
from compression.graphs.footprint import decoded_bytes, peak_memory
from compression.graphs.integer import integer
from compression.graphs.strip import stripped
from compression.graphs.unpack import unpacked
from compression.graphs.weighted import layers_of
from compression.recipes.subject import Measured, Subject, read_subject, timed_us
from engine.artifact import Artifact
from engine.command import settings_command
from engine.errors import ArtifactError, DataError, SettingsError, did_you_mean
from engine.intervals import wilson
from engine.loaders.settings import DataSettings

__all__ = ["CompressSettings", "Compressed", "compress", "main"]

UNIFORM = {
    "float16": "float16", "int8": "int8", "int4": "int4", "int2": "int2", "ternary": "ternary", "palette": "palette4",
    "sparse": "sparse4",
}  # fmt: skip
WAYS = (*UNIFORM, "integer", "auto")
PACKAGES = ("lilliput", "numpy", "onnx", "onnxruntime")


@final
@dataclass(frozen=True)
class CompressSettings:
    """What the command takes; the module's text describes each key."""

    model: str
    out: str
    to: str = "int8"
    data: DataSettings = field(default_factory=DataSettings)
    cost: Literal["bytes", "latency_us"] = "bytes"
    max_drop: float | None = None
    density: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.to not in WAYS and not self.to.lower().endswith((".yaml", ".yml")):
            hint = did_you_mean(self.to, WAYS)
            problems.append(f"to must be one of {', '.join(WAYS)} or a .yaml file, got '{self.to}'{hint}")
        if self.cost != "bytes" and self.to != "auto":
            problems.append(f"cost is for to=auto only, got {self.cost} with to={self.to}.")
        if self.max_drop is not None and (self.to != "auto" or self.max_drop < 0):
            problems.append(f"max_drop is for to=auto only and at least 0, got {self.max_drop} with to={self.to}.")
        if self.density is not None and (self.to != "sparse" or not 0 < self.density <= 1):
            problems.append(f"density is for to=sparse only and lies in (0, 1], got {self.density} with to={self.to}.")
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True, eq=False)
class Compressed:
    """What came of it.

    Args:
        model: The file.
        card: What is known about it.
        text: The same for people: the reason of the choice, and a table.
    """

    model: bytes
    card: Mapping[str, Any]
    text: str


def compress(settings: CompressSettings) -> Compressed:
    """Compress a model, write the file and its card.

    Raises:
        EngineError: If the model or the rows cannot be used, or `out` cannot be written.
    """
    out = Path(settings.out)
    if out.suffix.lower() != ".onnx" or not out.parent.is_dir():
        raise DataError(f"out must be a file that ends in .onnx, in a folder that exists, got {out}.")
    if out.exists() and Path(settings.model).exists() and out.samefile(settings.model):
        raise DataError(f"out must not be the model itself, {out}.")
    subject = read_subject(Path(settings.model), settings.data, seed=settings.seed)
    base = simplified(unpacked(subject.model))
    least: bytes = stripped(subject.model).SerializeToString(deterministic=True)
    made = _made(settings, subject, base, least)
    if len(least) <= len(made.model) and made.model != least and not made.is_integer:
        reason = f"Coding gave no smaller file than stripping ({len(least)} B), which loses nothing: that is kept."
        made = replace(made, model=least, choices={}, reason=f"{made.reason} {reason}")
    rows = [("original", subject.content), ("stripped", least), (settings.to, made.model)]
    measured = {name: _measures(content, subject) for name, content in rows}
    card = _card(settings, subject, base, made, measured)
    _write(out, made.model)
    _write(out.with_suffix(".card.json"), json.dumps(card, indent=2, sort_keys=True).encode())
    return Compressed(made.model, card, _text(subject, made.reason, measured, card, out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 2 for anything wrong with what was given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    given = [f"data.name={entry.removeprefix('data=')}" if entry.startswith("data=") else entry for entry in given]
    return settings_command(CompressSettings, lambda s: compress(s).text, usage=__doc__ or "", arguments=given)


@final
@dataclass(frozen=True, eq=False)
class _Made:
    """A file, the coding of each layer, the reason, and how it computes where both ways were compared."""

    model: bytes
    choices: Mapping[str, Choice]
    reason: str
    executed: Executed | None = None

    @property
    def is_integer(self) -> bool:
        """Whether it computes with integers."""
        return self.executed is not None and self.executed.execution == "integer"


def _made(settings: CompressSettings, subject: Subject, base: ModelProto, least: bytes) -> _Made:
    """Return the file as it was asked for."""
    layers = layers_of(base)
    if not layers:
        raise DataError(f"{settings.model} has no layers with weights (Conv, Gemm, MatMul, ...): nothing to code.")
    if settings.to == "integer":
        content = integer(base, subject.calibration)
        error = subject.error(content, subject.valid)
        executed = compared(least, content, _one(subject), error=error)
        return _Made(
            content, {}, f"Activations and weights as eight-bit integers, as asked. {executed.reason}", executed
        )
    if settings.to == "auto":
        found, largest = _automatic(settings, subject, base, least)
        return found if settings.cost == "bytes" else _quicker(found, subject, base, largest)
    if settings.to in UNIFORM:
        density = (settings.density or 0.5) if settings.to == "sparse" else 1.0
        asked = Choice(UNIFORM[settings.to], density)
        choices = uniform(layers, asked)
        others = sum(choice != asked for choice in choices.values())
        apart = f", but for {others} of {len(layers)}: small layers keep more bits" if others else ""
        reason = f"All layers as {settings.to}, as asked{apart}."
    else:
        choices = read_choices(Path(settings.to), layers)
        reason = f"A coding for each layer, as {settings.to} says."
    return _Made(apply(base, choices, subject.calibration).model, choices, reason)


def _quicker(found: _Made, subject: Subject, base: ModelProto, largest: float) -> _Made:
    """Return the integer form of a model where it keeps the error and is faster than the file that was found."""
    try:
        content = integer(base, subject.calibration)
    except ArtifactError as refusal:
        executed = Executed("float", None, None, f"There is no integer form: {refusal}")
        return replace(found, executed=executed, reason=f"{found.reason} {executed.reason}")
    error = subject.error(content, subject.valid)
    executed = compared(found.model, content, _one(subject), error=error, largest_error=largest)
    made = _Made(content, {}, "", executed) if executed.execution == "integer" else replace(found, executed=executed)
    return replace(made, reason=f"{found.reason} {executed.reason}")


def _automatic(settings: CompressSettings, subject: Subject, base: ModelProto, least: bytes) -> tuple[_Made, float]:
    """Return the smallest file within the loss, and the largest error that is allowed."""
    drop = 0.01 if settings.max_drop is None else settings.max_drop
    original = subject.error(subject.content, subject.valid)
    largest = original + drop + 1e-9
    count = 0

    def told(candidate: Candidate) -> None:
        nonlocal count
        count += 1
        if not sys.stderr.isatty():
            return
        size, change = len(candidate.applied.model), candidate.error - original
        sys.stderr.write(f"\r{count} files tried, the last one {size} B at {change:+.4f}   ")

    found = smallest_within(
        base,
        subject.calibration,
        lambda content: subject.error(content, subject.valid),
        largest_error=largest,
        report=told,
    )
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    if found is None:
        reason = f"No coded file of {count} keeps a drop of {drop}: the stripped original is the best there is."
        return _Made(least, {}, reason), largest
    reason = (
        f"The smallest of {count} files whose error on validation rows rises by at most {drop}: it rises by "
        f"{found.error - original:+.4f}."
    )
    return _Made(found.applied.model, found.choices, reason), largest


def _measures(content: bytes, subject: Subject) -> dict[str, Any]:
    return {
        "bytes": len(content),
        "validation": _told_error(content, subject, subject.valid),
        "test": None if subject.test is None else _told_error(content, subject, subject.test),
        "latency_us": timed_us(content, _one(subject)),
        "zstd_bytes": _zstd_bytes(content),
    }


def _one(subject: Subject) -> dict[str, np.ndarray]:
    """Return the inputs of one call: a row, or as many as the model takes at a time."""
    size = max(1, subject.batch)
    return {name: values[:size] for name, values in subject.valid.inputs.items()}


def _told_error(content: bytes, subject: Subject, rows: Measured) -> dict[str, Any]:
    error = subject.error(content, rows)
    told: dict[str, Any] = {"error": error, "rows": len(rows)}
    if subject.is_classification:
        told["low"], told["high"] = wilson(round(error * len(rows)), len(rows))
    return told


def _zstd_bytes(content: bytes) -> int | None:
    if importlib.util.find_spec("zstandard") is None:  # it is no dependency
        return None
    compressor = importlib.import_module("zstandard").ZstdCompressor(level=19)
    return len(compressor.compress(content))


def _card(
    settings: CompressSettings,
    subject: Subject,
    base: ModelProto,
    made: _Made,
    measured: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    original = Artifact(subject.content)
    plain = onnx.load_model_from_string(made.model) if made.is_integer else base
    return {
        **measured[settings.to],
        "sha256": Artifact(made.model).sha256,
        "to": settings.to,
        "reason": made.reason,
        "layers": {name: {"coding": choice.coding, "density": choice.density} for name, choice in made.choices.items()},
        "compared_with": "labels" if subject.has_labels else "the original's outputs",
        "selected_on": "validation",
        "decoded_bytes": decoded_bytes(plain),
        "peak_memory": peak_memory(plain),
        "original": {**measured["original"], "sha256": original.sha256},
        "stripped_bytes": measured["stripped"]["bytes"],
        **({} if made.executed is None else {"execution": made.executed.told()}),
        "seed": settings.seed,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _text(
    subject: Subject, reason: str, measured: Mapping[str, Mapping[str, Any]], card: Mapping[str, Any], out: Path
) -> str:
    what = "error" if subject.is_classification else "RMSE / spread"
    what = what if subject.has_labels else "changed" if subject.is_classification else "RMSE / spread, to original"
    head = ["", "bytes", "ratio", f"{what}, validation", "test", "latency_us", "zstd bytes"]
    whole = measured["original"]["bytes"]
    lines = [head]
    for name, found in measured.items():
        errors = ["-" if found[part] is None else f"{found[part]['error']:.4f}" for part in ("validation", "test")]
        zstd = "-" if found["zstd_bytes"] is None else str(found["zstd_bytes"])
        ratio = f"{whole / found['bytes']:.2f} x"
        lines.append([name, str(found["bytes"]), ratio, *errors, f"{found['latency_us']:.0f}", zstd])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    memory = "unknown" if card["peak_memory"] is None else f"{card['peak_memory']} B"
    counts = f"{len(subject.valid)} validation rows, {0 if subject.test is None else len(subject.test)} test rows."
    more = [f"Decoded weights {card['decoded_bytes']} B, peak memory of one row about {memory}. {counts}"]
    return "\n".join([*subject.notes, reason, "", *table, "", *more, f"Written: {out}"])


def _write(path: Path, content: bytes) -> None:
    waiting = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        waiting.write_bytes(content)
        os.replace(waiting, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        waiting.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
