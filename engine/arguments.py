"""Letting every `key=value` of a command line through Hydra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import SettingsError, did_you_mean

__all__ = ["lenient"]

ADDED = "space"  # the one group of which no choice is made before the user makes one


def lenient(arguments: Sequence[str], configuration: Path) -> list[str]:
    """Let every plain `key=value` through Hydra, so that `engine.settings` can judge all of them at once.

    Hydra stops at the first key that it does not know, and suggests nothing. Choices of a group (`data=npz`) are
    checked here, `space=cells` is read as the `+space=cells` that it means, values that its grammar would trip over are
    quoted, and flags come first, as its parser wants them.

    Args:
        arguments: Of the command line.
        configuration: The folder of YAML files.

    Raises:
        SettingsError: For choices that a group does not have, all at once.

    Example:
        >>> lenient(["budget=3", "data.path=my x (1).npz", "--multirun"], Path("conf"))
        ['--multirun', '++budget=3', "++data.path='my x (1).npz'"]
    """
    groups = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in configuration.iterdir()}
    choices = {name: options for name, options in groups.items() if options}
    problems = [problem for argument in arguments for problem in _unknown_choices(argument, choices)]
    if problems:
        raise SettingsError("\n".join(problems))
    flags = [argument for argument in arguments if argument.startswith("-")]
    return [*flags, *(_passed(argument, choices) for argument in arguments if not argument.startswith("-"))]


def _unknown_choices(argument: str, choices: Mapping[str, Sequence[str]]) -> list[str]:
    key, _, value = argument.lstrip("+").partition("=")
    known = choices.get(key, [])
    return [
        f"No {key} '{name}'{did_you_mean(name, known)} Choices of {key}: {', '.join(known)}."
        for name in (value.split(",") if known else [])
        if name not in known
    ]


def _passed(argument: str, choices: Mapping[str, Sequence[str]]) -> str:
    key, equals, value = argument.partition("=")
    if key == ADDED and key in choices:
        return f"+{argument}"
    if not equals or key.startswith(("+", "~", "hydra")) or key in choices:
        return argument
    if not value.startswith(("[", "{", "'", '"')) and set(value) & set(" ()=%~:"):
        value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"++{key}={value}"
