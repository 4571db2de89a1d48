"""The arms of the ablation for images: one search of files, and several ways to compress after a search."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx
from onnx import ModelProto

from compression.graphs.automatic import Candidate as Coded
from compression.graphs.automatic import smallest_within
from compression.graphs.fold import simplified
from compression.graphs.integer import quantized_by_runtime
from compression.graphs.unpack import unpacked
from compression.nets.train import Recipe
from engine.artifact import Artifact
from engine.data import Rows
from engine.launch import Run, search
from engine.load import Loaded, load
from engine.score import error_of
from engine.search_settings import Named
from engine.space import Candidate
from experiments.ablation_family import Variant, listed
from experiments.ablation_fronts import Arm, File, arm_of, files_of, seconds_of, timed, trials_of
from nas.cells import CellsSettings, Genome, Stage, edges
from nas.family import Networks
from nas.search import run as search_networks
from nas.settings import Settings

__all__ = ["Nets", "resnet8", "with_coding"]

FLOAT = "float32"
# Of a stage, and of the first and last layer beside it: the coarsest that the space holds.
CODINGS = (("int8", "int8"), ("int4", "int4"), ("ternary", "int4"))
NARROWER = 20  # times that a ternary file is shorter than its float32 file: what the float search may be longer
WIDTHS = (4, 8, 16)  # of the first stage; 16 as MLPerf Tiny has it
CALIBRATION_ROWS = 512
MAX_DROP = 0.01  # what `to=auto` of compression.compress allows by default


@final
@dataclass(frozen=True)
class Nets:
    """One seed of an image set.

    Args:
        settings: Of the search on the compressed file.
        folder: Of all runs.
    """

    settings: Settings
    folder: Path

    @cached_property
    def loaded(self) -> Loaded:
        """The rows, divided as in every search of this seed."""
        return load(self.settings.data, seed=self.settings.seed)

    def arm(self, name: str) -> Arm:
        """Return the files of an arm, and what they took."""
        if name == "file":
            return arm_of(self._searched(self.settings, name))
        bases = [self._float] if name.startswith("float") else self._defaults
        seconds = sum(seconds_of(base.folder) for base in bases)
        trials = sum(trials_of(base) for base in bases)
        way = name.split("_")[1]
        if way == "retrained":
            front = [point.candidate for base in bases for point in base.study.front]
            coded = [with_coding(candidate, *codings) for candidate in front for codings in CODINGS]
            found = arm_of(self._listed(coded, name, self.settings.max_bytes))
            return Arm(found.files, found.seconds + seconds, found.trials + trials)
        start = time.process_time()
        made = self._coded if way == "coded" else self._quantized_by_runtime
        files = [file for base in bases for file in made(base)]
        return Arm(files, time.process_time() - start + seconds, trials)

    @cached_property
    def _float(self) -> Run:
        """The search on validation error and the bytes of the float32 file, which follow the parameters."""
        assert isinstance(self.settings.space, CellsSettings)
        space = replace(
            self.settings.space, codings=(FLOAT,), edge_codings=(FLOAT,), keeps=(1.0,), executions=("float",)
        )
        limit = None if self.settings.max_bytes is None else NARROWER * self.settings.max_bytes
        return self._searched(replace(self.settings, space=space, max_bytes=limit), "float")

    @cached_property
    def _defaults(self) -> list[Run]:
        """ResNet-8 and two narrower ones in float32, each trained as the winners of the searches are."""
        assert isinstance(self.settings.space, CellsSettings)
        shapes = {width: with_coding(resnet8(width, self.settings.space), FLOAT, FLOAT) for width in WIDTHS}
        return [self._listed([shape], f"default-{width}", None) for width, shape in shapes.items()]

    def _searched(self, settings: Settings, name: str) -> Run:
        folder = self.folder / name
        return timed(folder, lambda: search_networks(replace(settings, run=str(folder))))

    def _listed(self, candidates: Sequence[Candidate], name: str, max_bytes: int | None) -> Run:
        folder = self.folder / name
        settings = replace(self.settings, run=str(folder))

        def complete(loaded: Loaded) -> tuple[Settings, Variant]:
            signature = loaded.dataset.signature
            recipe = Recipe(**vars(self.settings.train))
            networks = Networks(self.settings.space, signature, recipe, self.settings.metric)
            most = math.inf if max_bytes is None else max_bytes
            family = listed(networks, [candidate for candidate in candidates if networks.bytes(candidate) <= most])
            given = replace(settings, sampler=Named("random"), budget=len(family.candidates), max_macs=None)
            return replace(given, max_bytes=max_bytes), family

        return timed(folder, lambda: search(settings, complete, name=name))

    def _coded(self, base: Run) -> Iterator[File]:
        """Yield every file that `to=auto` tries on each member, and the members themselves."""
        yield from files_of(base)
        for number, (model, rows) in enumerate(self._models(base)):
            tried: list[Coded] = []
            start = self._error(model.SerializeToString(), self._valid)
            smallest_within(
                model,
                rows,
                lambda content: self._error(content, self._valid),
                largest_error=start + MAX_DROP + 1e-9,
                report=tried.append,
            )
            for found in tried:
                codings = "/".join(dict.fromkeys(choice.coding for choice in found.choices.values()))
                yield self._file(f"member {number}, {codings}", found.applied.model)

    def _quantized_by_runtime(self, base: Run) -> Iterator[File]:
        for number, (model, rows) in enumerate(self._models(base)):
            content = quantized_by_runtime(model, rows).SerializeToString()
            yield self._file(f"member {number}, quantize_static", content)

    def _models(self, base: Run) -> Iterator[tuple[ModelProto, Mapping[str, np.ndarray]]]:
        """Yield each member as a plain float32 graph, with calibration rows."""
        rows = {name: np.asarray(column[:CALIBRATION_ROWS]) for name, column in self._train.inputs().items()}
        for member in base.members:
            yield simplified(unpacked(onnx.load_model_from_string(member.artifact.model))), rows

    def _file(self, name: str, content: bytes) -> File:
        test = self.loaded.test
        assert test is not None
        errors = {"valid_error": self._error(content, self._valid), "test_error": self._error(content, test)}
        return {"name": name, "bytes": len(content), **errors}

    def _error(self, content: bytes, rows: Rows) -> float:
        outputs = Artifact(content).outputs(rows.inputs())
        return error_of(outputs, rows, metric=self.settings.metric, task="classification")

    @property
    def _train(self) -> Rows:
        return self.loaded.dataset.train(-1)

    @property
    def _valid(self) -> Rows:
        return self.loaded.dataset.valid(-1)


def resnet8(width: int, settings: CellsSettings) -> Candidate:
    """Return the shape of MLPerf Tiny's ResNet-8 as near as the space of cells has it: 93 % of its parameters.

    Three stages of `width`, twice and four times as many channels: a convolution that leads into the stage, from the
    second on with stride 2, and one with a shortcut. The original's shortcuts span two convolutions.

    Args:
        width: Channels of the first stage.
        settings: Of the space: how many nodes a cell has.

    Source: Banbury et al. (2021), MLPerf Tiny Benchmark, arXiv:2106.07597, image classification.
    """
    operations = {(0, settings.nodes - 1): "conv3", (0, 1): "skip", (1, settings.nodes - 1): "skip"}
    cell = tuple(operations.get(edge, "none") for edge in edges(settings.nodes))
    stages = tuple(Stage(width * 2**number, 1, 1 + (number > 0), "int8", 1.0) for number in range(3))
    return Genome(settings.nodes, cell, stages, "conv3", "int8", "int8").candidate()


def with_coding(candidate: Candidate, coding: str, edge: str) -> Candidate:
    """Return the same network in another coding.

    Args:
        candidate: Of the space of cells.
        coding: Of all stages.
        edge: Of the first and the last layer.
    """
    genes: dict[str, Any] = {
        name: edge if name.startswith(("stem.", "head.")) else coding
        for name in candidate.genes
        if name.endswith(".coding")
    }
    return candidate.replace(**genes)
