"""Search among auto-sklearn's pipelines for small files: what `+space=autosklearn` runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from automl.autosklearn.family import Pipelines
from automl.autosklearn.found import explore
from automl.autosklearn.settings import SHORTEST_SECONDS, AutoSklearnSettings
from automl.family import check_signature
from automl.settings import DEFAULT_METRIC
from engine.launch import Run, search
from engine.load import Loaded, load
from engine.metrics import default_metric

__all__ = ["run"]

SEARCH_SHARE = 2 / 3  # of the seconds that auto-sklearn gets; the rest is for small files


def run(settings: AutoSklearnSettings, *, loaded: Loaded | None = None) -> Run:
    """Let auto-sklearn search, then search for small files of its pipelines.

    The pipelines lie beside the run folder, in `<run>.autosklearn`; a resumed run takes them from there.

    Args:
        settings: As the command takes them.
        loaded: Data that are in memory already, in place of what `settings.data` names.

    Raises:
        MissingExtraError: If auto-sklearn is not set up.
        EngineError: For settings or data that cannot be used, or if auto-sklearn finds nothing.
    """
    if loaded is None:
        loaded = load(settings.data, seed=settings.seed)
    signature = loaded.dataset.signature
    check_signature(signature)
    metric = default_metric(signature) if settings.metric == DEFAULT_METRIC else settings.metric
    folder = settings.run or f"runs/autosklearn-{datetime.now():%Y%m%d-%H%M%S}"
    seconds = settings.space.seconds or max(SHORTEST_SECONDS / 2, SEARCH_SHARE * (settings.seconds or 90.0))
    found = explore(
        loaded.dataset,
        settings.space,
        Path(f"{folder}.autosklearn"),
        metric=metric,
        seconds=seconds,
        cores=settings.workers,
        seed=settings.seed,
    )
    left = None if settings.seconds is None else max(1.0, settings.seconds - seconds)
    finish = replace(settings.finish, refit=True) if settings.finish.refit is None else settings.finish
    settings = replace(settings, run=folder, metric=metric, seconds=left, finish=finish)
    family = Pipelines(settings.space, signature, metric, found)
    loaded = replace(loaded, notes=(*loaded.notes, *found.notes))
    return search(settings, lambda _: (settings, family), name=settings.space.name, loaded=loaded)
