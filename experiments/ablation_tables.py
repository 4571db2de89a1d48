"""The arms of the ablation for tables: one search of files, and several ways to compact after a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from automl.family import Tables
from automl.search import run as search_tables
from automl.settings import Settings
from automl.space import fitting
from engine.data import Signature
from engine.family import Family
from engine.launch import Run, search
from engine.load import DataSettings, Loaded, load
from engine.metrics import default_metric
from engine.search_settings import Named, SearchSettings
from engine.space import Candidate
from engine.winners import FinishSettings
from experiments.ablation_family import Variant, listed, with_options
from experiments.ablation_fronts import Arm, arm_of, seconds_of, timed, trials_of
from experiments.automl_folds import Fold, Table
from experiments.automl_peers import GRID

__all__ = ["Forms", "compacted", "data_of", "grid"]

# Values of the genes of compaction that change nothing: nearly exact leaves and weights, all splits, leaves as trained.
PLAIN: dict[str, Any] = {"leaves": "float16", "coding": "float16", "boosting.prune": 0.0, "boosting.refit": 0.0}
BITS: dict[str, tuple[str, ...]] = {
    "leaves": ("float16", "int6", "int4", "int3"),
    "coding": ("float16", "int8", "int4"),
}
FITTED_ANEW: dict[str, Any] = {"boosting.prune": 0.3, "boosting.refit": 0.1}


@final
@dataclass(frozen=True)
class Forms:
    """One seed of a table.

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

    @cached_property
    def metric(self) -> str:
        """By which files are scored."""
        return default_metric(self.loaded.dataset.signature)

    def arm(self, name: str) -> Arm:
        """Return the files of an arm, and what they took."""
        if name == "file":
            settings = replace(self.settings, run=str(self.folder / name))
            return arm_of(timed(self.folder / name, lambda: search_tables(settings, loaded=self.loaded)))
        if name == "default_coded":
            return arm_of(self._listed(grid(), name))
        base, front = self._float, [point.candidate for point in self._float.study.front]
        found = arm_of(self._listed(compacted(front, anew=name == "float_retrained"), name))
        return Arm(found.files, found.seconds + seconds_of(base.folder), found.trials + trials_of(base))

    @cached_property
    def _float(self) -> Run:
        """The search on validation error and the number of parameters, without genes of compaction; unfinished."""

        def family_for(signature: Signature) -> Family:
            family = self._family(signature)
            space = with_options(family.space, PLAIN)
            known = [fitting(space, candidate.genes) for candidate in family.portfolio]
            return Variant(family, space, tuple(dict.fromkeys(found for found in known if found is not None)))

        given = replace(self.settings, cost="parameters", max_bytes=None)  # type: ignore[arg-type]  # told by cards
        return self._search(replace(given, finish=FinishSettings(members=0, refit=True)), family_for, "float")

    def _listed(self, candidates: Sequence[Candidate], name: str) -> Run:
        def family_for(signature: Signature) -> Family:
            return listed(self._family(signature), candidates)

        count = len(set(candidates))
        return self._search(replace(self.settings, sampler=Named("random"), budget=count), family_for, name)

    def _search(self, settings: Settings, family_for: Any, name: str) -> Run:
        given = replace(settings, metric=self.metric, run=str(self.folder / name))
        given = replace(given, finish=replace(given.finish, refit=True))  # as automl.search does

        def complete(loaded: Loaded) -> tuple[SearchSettings, Family]:
            return given, family_for(loaded.dataset.signature)

        return timed(self.folder / name, lambda: search(given, complete, name=name, loaded=self.loaded))

    def _family(self, signature: Signature) -> Tables:
        return Tables(self.settings.space, signature, self.metric, self.settings.seed)


def compacted(candidates: Sequence[Candidate], *, anew: bool) -> list[Candidate]:
    """Return every candidate in every coding.

    Of candidates that differ only in the number of trees the one with the most stands for all: its training yields the
    others.

    Args:
        candidates: Of the front.
        anew: Whether boosted trees are also pruned by a part of their splits, and their leaves fitted anew.
    """
    largest: dict[Candidate, Candidate] = {}
    for candidate in sorted(candidates, key=_trees):
        rest = {name: value for name, value in candidate.genes.items() if not name.endswith(".trees")}
        largest[Candidate.of(rest)] = candidate
    found = []
    for candidate in largest.values():
        ways = [candidate]
        if anew and "boosting.refit" in candidate.genes:
            ways.append(candidate.replace(**FITTED_ANEW))
        for way in ways:
            gene = next((name for name in BITS if name in way.genes), None)
            found += [way] if gene is None else [way.replace(**{gene: coding}) for coding in BITS[gene]]
    return list(dict.fromkeys(found))


def grid() -> list[Candidate]:
    """Return the grid of LightGBM that `automl_peers.boosted` tries, as candidates, leaves in six bits."""
    genes: dict[str, Any] = {
        **{"family": "boosting", "rare": 1, "order": "count", "teach": 0.0, "leaves": "int6"},
        **{"boosting.bins": 255, "boosting.rows": 10, "boosting.ridge": 0.0, "boosting.columns": 1.0},
        **{"boosting.sample": 1.0, "boosting.thrift": 0.0, "boosting.prune": 0.0, "boosting.refit": 0.0},
    }
    return [
        Candidate.of(
            {**genes, "boosting.trees": trees, "boosting.leaves": leaves, "boosting.rate": min(0.3, 10 / trees)}
        )
        for trees, leaves in GRID
    ]


def data_of(table: Table, fold: Fold, folder: Path) -> DataSettings:
    """Write the training and test rows of a fold as csv files and return how to read them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, index in (("train", fold.train), ("test", fold.test)):
        table.rows.iloc[index].to_csv(folder / f"{name}.csv", index=False)
    return DataSettings(
        "csv",
        path=str(folder / "train.csv"),
        test_path=str(folder / "test.csv"),
        target=table.target,
        task=table.task,
        types=dict.fromkeys(table.categorical, "category"),
    )


def _trees(candidate: Candidate) -> int:
    return next((int(value) for name, value in candidate.genes.items() if name.endswith(".trees")), 0)
