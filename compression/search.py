"""Search for the smallest files of a model: `python -m compression.search model=m.onnx data=npz data.path=d.npz`.

Everything heavy is imported inside the functions, so that `--help` and a mistyped group answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.command import command

if TYPE_CHECKING:
    from compression.recipes.family import Recipes
    from compression.recipes.settings import Settings
    from engine.artifact import Artifact
    from engine.launch import Run
    from engine.load import Loaded

__all__ = ["main", "run"]


def run(settings: Settings) -> Run:
    """Search as the command does.

    Where no file keeps `max_bytes`, the smallest one is written to the folder `smallest` of the run.

    Example:
        >>> from compression.recipes.settings import Settings
        >>> result = run(Settings(model="m.onnx", budget=8, run="runs/small"))  # doctest: +SKIP
        >>> result.front.best_under(bytes=4000)  # doctest: +SKIP
    """
    return _searched(settings)[0]


def _searched(settings: Settings) -> tuple[Run, tuple[Path, Artifact] | None]:
    from compression.recipes.original import labelled, recipes_for, smallest_beyond
    from engine.launch import search

    settings, is_labelled = labelled(settings)
    seen: list[tuple[Settings, Recipes, Loaded]] = []

    def complete(loaded: Loaded) -> tuple[Settings, Recipes]:
        completed, family = recipes_for(settings, loaded, is_labelled=is_labelled)
        seen.append((completed, family, loaded))
        return completed, family

    found = search(settings, complete, name=settings.space.name)
    return found, smallest_beyond(found, *seen[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def work(plain: dict[str, Any], told: list[str]) -> int:
        from compression.recipes.original import ending_for
        from compression.recipes.settings import Settings
        from engine.settings import build

        settings = build(Settings, plain)
        return ending_for(settings, *_searched(settings), told)

    return command("compression", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
