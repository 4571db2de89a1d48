"""Strict settings: every key known, every value of its type, all problems told at once."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml

from engine.errors import SettingsError, did_you_mean

__all__ = ["build", "from_arguments"]

T = TypeVar("T")


def build(kind: type[T], given: Mapping[str, Any], *, where: str = "") -> T:
    """Make a settings dataclass from plain containers.

    Nested dataclasses, `list[X]`, `X | None` and `Literal` are understood; an int serves as a float, and a number with
    an exponent that YAML reads as text (`1e3`) as the number it is.

    Args:
        kind: A dataclass whose fields carry types.
        given: What the user wrote.
        where: Dotted prefix for messages.

    Raises:
        SettingsError: With every unknown key (and the nearest known one), missing key and wrong type.

    Example:
        >>> @dataclasses.dataclass
        ... class Plan:
        ...     budget: int = 100
        >>> build(Plan, {"budget": 7})
        Plan(budget=7)
    """
    problems: list[str] = []
    made = _build(kind, given, where, problems)
    if problems:
        raise SettingsError("\n".join(problems))
    return typing.cast(T, made)


def from_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` arguments, values as YAML, dots as nesting.

    Raises:
        SettingsError: For every argument without an equals sign, at once.

    Example:
        >>> from_arguments(["model=a.onnx", "data.target=label", "rows=3"])
        {'model': 'a.onnx', 'data': {'target': 'label'}, 'rows': 3}
    """
    problems = [f"'{a}' must have the form key=value." for a in arguments if "=" not in a]
    if problems:
        raise SettingsError("\n".join(problems))
    made: dict[str, Any] = {}
    for argument in arguments:
        name, text = argument.split("=", 1)
        *parents, last = name.split(".")
        place = made
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):  # `data=new.csv data.target=y`: the bare value is the name of the group
                inner = place[parent] = {"name": inner}
            place = inner
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if isinstance(place.get(last), dict) and not isinstance(value, dict):
            place[last]["name"] = value
        else:
            place[last] = value
    return made


def _build(kind: type, given: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(given, Mapping):
        problems.append(f"{where or 'The settings'} must be a mapping of keys, got {given!r}.")
        return None
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    values = {}
    for key, value in given.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            hint = did_you_mean(str(key), known).replace("'", "")
            if where and hint:
                hint = hint.replace("did you mean ", f"did you mean {where}.")
            problems.append(f"Unknown key {path}{hint} Known keys: {', '.join(sorted(known))}.")
            continue
        values[key] = _convert(hints[key], value, path, problems)
    for name, entry in known.items():
        needed = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if needed and name not in given:
            path = f"{where}.{name}" if where else name
            problems.append(f"{path} must be given: add {path}=... to the command.")
    if problems:
        return None
    try:
        return kind(**values)
    except SettingsError as error:
        problems.append(str(error))
        return None


def _convert(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, path, problems)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        for option in inner:
            found: list[str] = []
            converted = _convert(option, value, path, found)
            if not found:
                return converted
        problems.append(f"{path} must be {_named(hint)}, got {value!r}.")
        return None
    if origin is typing.Literal:
        if value in arguments:
            return value
        hint_text = did_you_mean(str(value), map(str, arguments)).replace("?", ".") or "."
        problems.append(f"{path} must be one of {', '.join(map(str, arguments))}, got {value!r}{hint_text}")
        return None
    if origin in (list, tuple):
        items = value if isinstance(value, list | tuple) else [value]
        converted_items = [_convert(arguments[0], item, f"{path}[{n}]", problems) for n, item in enumerate(items)]
        return origin(converted_items)
    if origin is dict or hint is dict:
        if isinstance(value, Mapping):
            return dict(value)
    elif hint is Any or (hint is bool and isinstance(value, bool)):
        return value
    elif hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif hint is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif hint is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    problems.append(f"{path} must be {_named(hint)}, got {value!r}.")
    return None


def _named(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(_named(argument) for argument in arguments)
    if typing.get_origin(hint) in (list, tuple):
        return f"a list of which each is {_named(arguments[0])}"
    return names.get(hint, "a mapping of keys")
