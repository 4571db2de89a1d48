"""Search for rule models: `python -m rules.search +space=rules data=csv data.path=d.csv data.target=y`.

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
    from engine.progress import Progress
    from rules.demands import demands_of
    from rules.family import RuleModels, bytes_name
    from rules.members import write_members

    seen: list[tuple[Loaded, Constraints]] = []

    def complete(loaded: Loaded) -> tuple[Settings, RuleModels]:
        constraints = demands_of(settings.rules.file, loaded.dataset)
        seen.append((loaded, constraints))
        teacher = Artifact.load(settings.teacher) if settings.teacher else None
        family = RuleModels(
            settings.space,
            loaded.dataset.signature,
            constraints,
            settings.metric,
            teacher,
            settings.bytes_of,
            settings.max_bytes if settings.bytes_of != "onnx" else None,
        )
        if settings.bytes_of == "onnx":
            return settings, family
        return replace(settings, cost=bytes_name(settings.bytes_of)), family  # type: ignore[arg-type]

    found = search(settings, complete, name=settings.space.name)
    write_members(found, *seen[0], bytes_of=settings.bytes_of, tell=Progress(quiet=settings.quiet).note)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def work(plain: dict[str, Any], told: list[str]) -> int:
        from engine.ending import ending
        from engine.settings import build
        from rules.settings import Settings

        found = run(build(Settings, plain))
        return ending(found, "rules.search", told)

    return command("rules", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
