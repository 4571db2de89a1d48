"""Search for rule models: `python -m rules.search +space=rules data=csv data.path=d.csv data.target=y`.

Everything heavy is imported inside the functions, so that `--help` and a mistyped group answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from engine.arguments import lenient
from engine.errors import EXIT_INTERRUPTED, EngineError, report_error

if TYPE_CHECKING:
    from engine.launch import Run
    from engine.load import Loaded
    from rules.family import RuleModels
    from rules.generators.constraints import Constraints
    from rules.settings import Settings

__all__ = ["main", "run"]


def run(settings: Settings) -> Run:
    """Search as the command does.

    Beside every file of the front its rules are written, as JSON, text, SQL and Python, and a report on them.

    Example:
        >>> from engine.load import DataSettings
        >>> from rules.settings import Settings
        >>> result = run(Settings(data=DataSettings("iris"), budget=4, run="runs/iris"))  # doctest: +SKIP
        >>> result.members[0].artifact.card["ruleset"]["policy"]  # doctest: +SKIP
        'sum'
    """
    from engine.artifact import Artifact
    from engine.launch import search
    from rules.demands import demands_of
    from rules.family import RuleModels
    from rules.members import write_members

    seen: list[tuple[Loaded, Constraints]] = []

    def complete(loaded: Loaded) -> tuple[Settings, RuleModels]:
        constraints = demands_of(settings.rules.file, loaded.dataset)
        seen.append((loaded, constraints))
        teacher = Artifact.load(settings.teacher) if settings.teacher else None
        return settings, RuleModels(settings.space, loaded.dataset.signature, constraints, settings.metric, teacher)

    found = search(settings, complete, name=settings.space.name)
    write_members(found, *seen[0])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    codes = [0]

    @hydra.main(version_base="1.3", config_path="../conf", config_name="rules")
    def composed(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from engine.command import main_guard
        from engine.ending import ending
        from engine.settings import build
        from rules.settings import Settings

        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        told = [override.removeprefix("++") for override in HydraConfig.get().overrides.task]
        codes.append(main_guard(lambda: ending(run(build(Settings, plain)), "rules.search", told)))
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
