"""The family of searched networks: from genes to trained, compressed, verified files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any, final

import numpy as np
import torch

from compression.mean import pieces
from compression.nets.activations import in_integers
from compression.nets.export import export, lowered_plan
from compression.nets.layers import empty_weights, lower
from compression.nets.network import Network
from compression.nets.plan import Plan
from compression.nets.totals import Totals, totals
from compression.nets.train import Examples, Recipe, train
from compression.ruler import Ruler
from engine.artifact import Artifact
from engine.data import Dataset, Signature
from engine.errors import SettingsError
from engine.family import Means, Report
from engine.metrics import metric_named
from engine.score import error_of
from engine.shares import is_blend, shares_of
from engine.space import Candidate, Choice, Space
from engine.trial import Point, Trial
from nas.describe import told
from nas.finish import finish
from nas.mean import described, joined
from nas.measure import measured
from nas.ranges import EXECUTIONS
from nas.space import Genome, NetworkSpace, SpaceSettings, ViewSettings, space_named
from nas.teach import teach

__all__ = ["Networks", "macs_for"]

MACS_A_ROOT = 200_000
DEPTH_UNIT = 5.0  # layers that count as much as a factor of ten in size
SIZE_UNIT = 10.0  # of log bytes: little, since errors are learned from the exact size too
EXECUTION = "execution"  # a gene of all spaces
VIEWS = "views"  # a gene of spaces of images
VIEWS_STEP = {"step": "two views", "detail": "the file answers with the mean over the image and its mirror image"}
CODED_STEP = {"step": "activations quantized", "detail": "eight bits, in training; integer kernels multiply them"}


@final
@dataclass(frozen=True)
class Networks:
    """Networks of one space, for one signature.

    Args:
        settings: Of the space, which is found by their name.
        signature: Of the data.
        recipe: Of the training of one trial.
        metric: Of the validation error that a finished winner tells.

    Raises:
        DataError: If the data do not fit the space.
        SettingsError: If files are to answer for images that their networks never learn from.
    """

    settings: SpaceSettings
    signature: Signature
    recipe: Recipe
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        self.kind.check(self.signature)
        if max(self.views) > 1 and (not self.recipe.flip or self.executions != EXECUTIONS[:1]):
            raise SettingsError(
                f"space.views={list(self.views)} asks about mirrored images too: it must go with train.flip=true, so "
                f"that they are learned, and with space.executions=[float], got train.flip={self.recipe.flip} and "
                f"space.executions={list(self.executions)}."
            )

    @property
    def kind(self) -> NetworkSpace:
        """What the space says of its networks."""
        return space_named(self.settings.name)

    @property
    def executions(self) -> tuple[str, ...]:
        """How its networks may compute."""
        return self.settings.executions or EXECUTIONS[:1]

    @property
    def views(self) -> tuple[int, ...]:
        """Of how many views of an image its files may answer with the mean."""
        return (self.settings.views if isinstance(self.settings, ViewSettings) else None) or (1,)

    @cached_property
    def space(self) -> Space:
        """Where candidates come from: that of the settings, and how a file computes where there is a choice."""
        found = self.kind.space(self.settings)
        return Space({**found.domains, **{name: Choice(options) for name, options in self._choices}}, found.conditions)

    @property
    def _choices(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Genes beside those of the genome."""
        both: list[tuple[str, tuple[Any, ...]]] = [(EXECUTION, self.executions), (VIEWS, self.views)]
        return [(name, options) for name, options in both if len(options) > 1]

    @cached_property
    def portfolio(self) -> Sequence[Candidate]:
        """Plain networks of many widths."""
        found = self.kind.portfolio(self.settings, self.signature)
        first = {name: options[0] for name, options in self._choices}
        return [self.canonical(Candidate.of({**candidate.genes, **first})) for candidate in found]

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the representative of all candidates that build the same network."""
        genome = self._canonical(candidate)
        beside = {name: candidate.genes.get(name, options[0]) for name, options in self._choices}
        plain = self.executions[0]
        if beside.get(EXECUTION, plain) != plain and not _is_whole(self.kind, genome, self.signature):
            beside[EXECUTION] = plain
        return Candidate.of({**genome.candidate().genes, **beside}) if beside else genome.candidate()

    def genome(self, candidate: Candidate) -> Genome:
        """Return the genome of a candidate."""
        found: Genome = self.kind.genome(candidate, self.settings)
        return found

    def bytes(self, candidate: Candidate) -> int:
        """Return the length of the file: the writer itself, with a ruler in place of a graph."""
        return _length(self._kind(candidate), self._canonical(candidate), self.signature)

    def macs(self, candidate: Candidate) -> int:
        """Return the multiply-accumulates of one row through the file."""
        if is_blend(candidate):
            return sum(self.macs(member) for member in shares_of(candidate))
        return self._totals(candidate).macs

    def features(self, candidate: Candidate) -> Sequence[float]:
        """Return logarithms of multiply-accumulates and parameters, the numbers of layers by kind, and about the size.

        Candidates of one size differ most in how often a weight is used, how many there are, and in depth. From about
        the size samplers learn which exact ones are worth the time that it takes to tell them.
        """
        found = self._totals(candidate)
        return (
            math.log10(max(1, found.macs)) - 5.0,
            math.log10(found.parameters) - 3.0,
            found.layers / DEPTH_UNIT,
            found.depthwise / DEPTH_UNIT,
            found.poolings / DEPTH_UNIT,
            math.log(found.bytes) / SIZE_UNIT,
        )

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:  # noqa: ARG002
        """Trials of this family share nothing but the data."""
        return data

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:
        """Train, remove channels, quantize, train on, export through the parity gate."""
        genome = self.genome(candidate)
        rows, valid = data.train(fold), data.valid(fold)
        torch.manual_seed(seed)
        network = train(
            Network(measured(self._kind(candidate).plan(genome, self.signature), rows)),
            Examples.of(rows, self.signature),
            self.recipe.scaled(fidelity),
            counts=self.kind.kept(genome),
            seed=seed,
            report=report,
            valid=Examples.of(valid, self.signature),
        )
        yield candidate, export(network, valid.inputs()["x"], seed=seed)

    def finish(
        self,
        candidate: Candidate,
        data: Dataset,
        *,
        teachers: Sequence[Artifact],
        effort: float,
        max_bytes: int | None,
        seed: int,
        refit: bool,
        own: Artifact | None = None,  # noqa: ARG002
    ) -> Artifact:
        """Train a winner long, with the probabilities of teachers where there are some; or a teacher."""
        genome, recipe = self.genome(candidate), self.recipe.scaled(effort)
        if max_bytes is None:
            return teach(self.kind.plan(genome, self.signature), data, recipe, seed=seed, metric=self.metric)
        artifact = finish(
            self._kind(candidate),
            genome,
            self.signature,
            data,
            recipe,
            teachers=teachers,
            seed=seed,
            refit=refit,
            metric=self.metric,
        )
        if artifact.size > max_bytes:
            raise AssertionError(f"a finished file has {artifact.size} bytes, its trial had {max_bytes}")
        return artifact

    @property
    def means_of(self) -> Means:
        """Means are made of finished networks: a trial's answers are too far from those after long training."""
        return "finished"

    def pieces(self, file: Artifact) -> Mapping[str, int]:
        """Return what a file is made of: bytes by content."""
        return pieces(file.model)

    def opinions(self, data: Dataset, points: Sequence[Point], *, trains: bool) -> None:
        """Nobody is asked: means are made of few finished files."""

    def join(self, blend: Candidate, data: Dataset, *, files: Sequence[Artifact], answers: np.ndarray) -> Artifact:
        """Return the file of a mean."""
        valid = data.valid(-1)
        error = error_of(answers, valid, metric=self.metric, task=self.signature.task)
        return joined(blend, files, valid, error)

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:
        """Return what a card says of a winner beyond its measurements."""
        if is_blend(point.candidate):
            return described(point.candidate, lambda one: self.describe(replace(point, candidate=one), ()))
        is_share = metric_named(self.metric, self.signature.task).is_share
        words = told(self.kind.describe(self.genome(point.candidate)), point, trials, is_share=is_share)
        if self._plan(point.candidate).is_integer:
            words["steps"] = [*words["steps"], CODED_STEP]
        if self._plan(point.candidate).views > 1:
            words["steps"] = [*words["steps"], VIEWS_STEP]
        return words

    def _kind(self, candidate: Candidate) -> NetworkSpace:
        """Return the space whose files compute as a candidate says."""
        genes = candidate.genes
        execution, views = str(genes.get(EXECUTION, self.executions[0])), int(genes.get(VIEWS, self.views[0]))
        return _executing(self.kind, execution, views)

    def _plan(self, candidate: Candidate) -> Plan:
        return _small_plan(self._kind(candidate), self.genome(candidate), self.signature)

    def _totals(self, candidate: Candidate) -> Totals:
        return _totals(self._kind(candidate), self.settings, self.signature, candidate)

    def _canonical(self, candidate: Candidate) -> Genome:
        return _canonical(self.kind, self.settings, candidate)


def macs_for(signature: Signature) -> int:
    """Return how many multiply-accumulates a row may take where the user sets no limit: what trains in a short time."""
    return round(MACS_A_ROOT * math.sqrt(math.prod(signature.shape[1:])))


@cache
def _executing(kind: NetworkSpace, execution: str, views: int) -> NetworkSpace:
    """Return the space whose networks compute so; those without integer codes compute with floats all the same."""
    if execution == "float":
        return kind if views == 1 else replace(kind, plan=lambda *given: replace(kind.plan(*given), views=views))
    return replace(kind, plan=lambda genome, signature: in_integers(kind.plan(genome, signature)))


def _is_whole(kind: NetworkSpace, genome: Genome, signature: Signature) -> bool:
    """Say whether a network can be executed with integers."""
    return _small_plan(_executing(kind, "integer", 1), genome, signature).is_integer


@lru_cache(maxsize=10_000)
def _canonical(kind: NetworkSpace, settings: SpaceSettings, candidate: Candidate) -> Genome:
    found: Genome = kind.canonical(kind.genome(candidate, settings), settings)
    return found


@lru_cache(maxsize=10_000)
def _totals(kind: NetworkSpace, settings: SpaceSettings, signature: Signature, candidate: Candidate) -> Totals:
    """Return what the plan of the file adds up to."""
    genome = kind.genome(candidate, settings)
    return totals(kind.plan(genome, signature), kind.kept(genome))


@lru_cache(maxsize=10_000)
def _small_plan(kind: NetworkSpace, genome: Genome, signature: Signature) -> Plan:
    """Return the plan of the file: after channels are removed."""
    return kind.plan(genome, signature).with_channels(kind.kept(genome))


@lru_cache(maxsize=100_000)
def _length(kind: NetworkSpace, genome: Genome, signature: Signature) -> int:
    plan = _small_plan(kind, genome, signature)
    weights = empty_weights(plan)
    return len((lowered_plan(plan, weights) if plan.is_integer else lower(plan, weights, Ruler)).model)
