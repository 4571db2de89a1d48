"""Search for compact networks: `python -m nas.search +space=cells budget=100`.

Everything heavy is imported inside the functions, so that `--help` and a mistyped group answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conf.command import command

if TYPE_CHECKING:
    from engine.launch import Run
    from engine.load import Loaded
    from nas.family import Networks
    from nas.settings import Settings

__all__ = ["main", "run"]


def run(settings: Settings) -> Run:
    """Search as the command does.

    Example:
        >>> from nas.settings import Settings
        >>> result = run(Settings(budget=2, workers=1, run="runs/tiny", quiet=True))  # doctest: +SKIP
        >>> result.members[0].artifact.size  # doctest: +SKIP
        2214
    """
    from compression.nets.train import Recipe
    from engine.launch import search
    from engine.metrics import default_metric
    from nas.family import Networks, macs_for
    from nas.ranges import EXECUTIONS, VIEWS
    from nas.settings import Settings as Defaults
    from nas.space import ViewSettings

    def complete(loaded: Loaded) -> tuple[Settings, Networks]:
        signature = loaded.dataset.signature
        is_unfit = signature.task == "regression" and settings.metric == Defaults.metric
        metric = default_metric(signature) if is_unfit else settings.metric
        space: Any = settings.space
        if space.executions is None and settings.cost == "latency_us":
            space = replace(space, executions=EXECUTIONS)
        can_mirror = signature.kind == "images" and settings.train.flip and space.executions in (None, EXECUTIONS[:1])
        if can_mirror and isinstance(settings.space, ViewSettings) and settings.space.views is None:
            space = replace(space, views=VIEWS)
        family = Networks(space, signature, Recipe(**vars(settings.train)), metric)
        return replace(settings, space=space, metric=metric, max_macs=settings.max_macs or macs_for(signature)), family

    return search(settings, complete, name=settings.space.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def work(plain: dict[str, Any], told: list[str]) -> int:
        from engine.ending import ending
        from engine.settings import build
        from nas.settings import settings_for

        return ending(run(build(settings_for(plain), plain)), "nas.search", told)

    return command("nas", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
