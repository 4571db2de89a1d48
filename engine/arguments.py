"""Letting every `key=value` of a command line through Hydra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import SettingsError, did_you_mean

__all__ = ["lenient"]

ADDED = "space"  # the one group of which no choice is made before the user makes one
FLAGS = {"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"}
FLAGS_WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"}
FLAGS_WITH_VALUE |= {"--config-dir", "-cd", "--experimental-rerun", "--shell-completion", "-sc"}


def lenient(arguments: Sequence[str], configuration: Path) -> list[str]:
    """Let every plain `key=value` through Hydra, so that `engine.settings` can judge all of them at once.

    Hydra stops at the first key that it does not know, and suggests nothing. Choices of a group (`data=npz`) are
    checked here, as are its flags; `space=cells` is read as the `+space=cells` that it means, values that its grammar
    would trip over are quoted, and flags come first, as its parser wants them.

    Args:
        arguments: Of the command line.
        configuration: The folder of YAML files.

    Raises:
        SettingsError: For choices that a group does not have and flags that nobody knows, all at once.

    Example:
        >>> lenient(["budget=3", "data.path=my x (1).npz", "--multirun"], Path("conf"))
        ['--multirun', '++budget=3', "++data.path='my x (1).npz'"]
    """
    groups = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in configuration.iterdir()}
    choices = {name: options for name, options in groups.items() if options}
    flags, settings, problems = _parted(arguments)
    problems += [problem for argument in settings for problem in _unknown_choices(argument, choices)]
    if problems:
        raise SettingsError("\n".join(problems))
    return [*flags, *(_passed(argument, choices) for argument in settings)]


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return flags with their values, settings, and what is wrong with flags."""
    flags, settings, problems = list[str](), list[str](), list[str]()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            settings.append(argument)
        elif name in FLAGS | FLAGS_WITH_VALUE:
            flags.append(argument)
            if name in FLAGS_WITH_VALUE and not equals and rest:
                flags.append(rest.pop(0))
        else:
            is_apart = not equals and rest and "=" not in rest[0] and not rest[0].startswith("-")
            meant = value or (rest.pop(0) if is_apart else "VALUE")
            problems.append(
                f"'{name}' must be one of Hydra's flags (--help, --multirun, --cfg job; --hydra-help lists them). "
                f"Settings have no dashes: {name.lstrip('-').replace('-', '_')}={meant}"
            )
    return flags, settings, problems


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
