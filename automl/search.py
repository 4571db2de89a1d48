"""Search for compact tabular models: `python -m automl.search +space=tabular data=csv data.path=F data.target=COLUMN`.

Everything heavy is imported inside the functions, so that `--help` and a mistyped group answer at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conf.command import command

if TYPE_CHECKING:
    from automl.autosklearn.settings import AutoSklearnSettings
    from automl.family import Tables
    from automl.settings import Settings
    from engine.launch import Run
    from engine.load import Loaded

__all__ = ["main", "run", "settings_of"]


def run(settings: Settings | AutoSklearnSettings, *, loaded: Loaded | None = None, start: float | None = None) -> Run:
    """Search as the command does.

    Args:
        settings: As the command takes them.
        loaded: Data that are in memory already, in place of what `settings.data` names.
        start: When the time began to count, by `time.monotonic()`; by default now.

    Example:
        >>> from automl.settings import Settings
        >>> from engine.load import DataSettings
        >>> result = run(Settings(data=DataSettings(name="wine"), budget=4, run="runs/w", quiet=True))  # doctest: +SKIP
        >>> result.front.best_under(bytes=2000).values["error"]  # doctest: +SKIP
        0.04
    """
    start = time.monotonic() if start is None else start
    from automl.autosklearn.settings import AutoSklearnSettings

    if isinstance(settings, AutoSklearnSettings):
        from automl.autosklearn import search as autosklearn

        return autosklearn.run(settings, loaded=loaded)
    from automl.family import Tables, check_signature
    from automl.settings import DEFAULT_METRIC, check_monotone
    from automl.space import MONOTONE
    from engine.launch import search
    from engine.load import load
    from engine.metrics import default_metric

    def complete(loaded: Loaded) -> tuple[Settings, Tables]:
        signature = loaded.dataset.signature
        check_signature(signature)
        check_monotone(settings.monotone, signature)
        metric = default_metric(signature) if settings.metric == DEFAULT_METRIC else settings.metric
        order = {name: place for place, name in enumerate(signature.numeric_columns)}
        directions = tuple(sorted(settings.monotone.items(), key=lambda entry: order[entry[0]]))
        finish = replace(settings.finish, refit=True) if settings.finish.refit is None else settings.finish
        family = Tables(settings.space, signature, metric, settings.seed, directions)
        return replace(settings, metric=metric, finish=finish), family

    if loaded is None:
        loaded = load(settings.data, seed=settings.seed)
    if settings.monotone:
        lost = [name for name in settings.space.families if name not in MONOTONE]
        if lost:
            note = f"Left out, since they cannot keep the directions of monotone: {', '.join(lost)}."
            loaded = replace(loaded, notes=(*loaded.notes, note))
    return search(settings, complete, name=settings.space.name, loaded=loaded, start=start)


def settings_of(plain: dict[str, Any]) -> Settings | AutoSklearnSettings:
    """Return checked settings of a composed configuration.

    Raises:
        SettingsError: With every problem.
    """
    from automl.autosklearn.settings import AutoSklearnSettings
    from automl.settings import Settings, plain_monotone
    from engine.errors import SettingsError
    from engine.settings import build

    rest = {name: value for name, value in plain.items() if name != "monotone"}
    if (rest.get("space") or {}).get("name") == "autosklearn":
        if plain_monotone(plain.get("monotone")):
            raise SettingsError("monotone says nothing here: auto-sklearn knows no directions; remove it.")
        return build(AutoSklearnSettings, rest)
    return replace(build(Settings, rest), monotone=plain_monotone(plain.get("monotone")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; after several searches, print what each of them found."""
    finished: list[tuple[str, Run]] = []
    begun = [time.monotonic()]  # the first search of a sweep starts with the command

    def work(plain: dict[str, Any], told: list[str]) -> int:
        from engine.ending import ending

        start = begun.pop() if begun else time.monotonic()
        finished.append((" ".join(told), run(settings_of(plain), start=start)))
        return ending(finished[-1][1], "automl.search", told)

    code = command("automl", work, arguments)
    if len(finished) > 1:
        from automl.sweep import print_sweep

        print_sweep(finished)
    return code


if __name__ == "__main__":
    sys.exit(main())
