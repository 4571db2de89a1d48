"""Search for compact networks: `python -m nas.search +space=cells budget=100`.

Everything heavy is imported inside the functions, so that `--help` and a mistyped group answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from engine.arguments import lenient
from engine.errors import EXIT_INTERRUPTED, EngineError, report_error

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
    from engine.launch import search
    from engine.metrics import default_metric
    from nas.family import Networks, macs_for, recipe_for
    from nas.settings import Settings as Defaults

    def complete(loaded: Loaded) -> tuple[Settings, Networks]:
        signature = loaded.dataset.signature
        recipe = recipe_for(signature, len(loaded.dataset.splits[0].train), vars(settings.train))
        is_unfit = signature.task == "regression" and settings.metric == Defaults.metric
        metric = default_metric(signature) if is_unfit else settings.metric
        family = Networks(settings.space, signature, recipe, settings.finish.effort, metric)
        return replace(settings, metric=metric, max_macs=settings.max_macs or macs_for(signature)), family

    return search(settings, complete, name=settings.space.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    codes = [0]

    @hydra.main(version_base="1.3", config_path="../conf", config_name="nas")
    def composed(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from engine.command import main_guard
        from engine.ending import ending
        from engine.settings import build
        from nas.settings import settings_for

        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        told = [override.removeprefix("++") for override in HydraConfig.get().overrides.task]
        codes.append(main_guard(lambda: ending(run(build(settings_for(plain), plain)), "nas.search", told)))
        if codes[-1] >= EXIT_INTERRUPTED:
            sys.exit(codes[-1])  # a sweep ends too

    try:
        sys.argv = [sys.argv[0], *lenient(given, Path(__file__).parent.parent / "conf")]
    except EngineError as error:
        return report_error(error)
    composed()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
