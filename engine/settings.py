"""Strict settings: every key known, every value of its type, all problems told at once."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, final

import yaml

from engine.errors import SettingsError, did_you_mean

__all__ = ["Written", "build", "from_arguments"]

T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True)
class Written:
    """A value as the user typed it: the text where a text is wanted, else what YAML makes of it."""

    text: str

    @property
    def value(self) -> Any:
        """The value that YAML reads; the text itself where it is no YAML."""
        try:
            return yaml.safe_load(self.text)
        except yaml.YAMLError:
            return self.text


def build(kind: type[T], given: Mapping[str, Any], *, where: str = "") -> T:
    """Make a settings dataclass from plain containers.

    Nested dataclasses, `list[X]`, `dict[str, X]`, `X | None` and `Literal` are understood; an int serves as a float,
    and a number with an exponent that YAML reads as text (`1e3`) as the number it is.

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
        >>> from_arguments(["model=a.onnx", "data.target=no"])
        {'model': Written(text='a.onnx'), 'data': {'target': Written(text='no')}}
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
        value = Written(text)
        if isinstance(place.get(last), dict):
            place[last]["name"] = value
        else:
            place[last] = value
    return made


def _below(kind: type, key: str) -> Iterator[str]:
    """Yield where groups of settings, or groups in them, have this very key."""
    for name, hint in typing.get_type_hints(kind).items():
        for inner in (hint, *typing.get_args(hint)):
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                if any(field.name == key for field in dataclasses.fields(inner)):
                    yield f"{name}.{key}"
                yield from (f"{name}.{rest}" for rest in _below(inner, key))


def _build(kind: type, given: Any, where: str, problems: list[str], default: Any = None) -> Any:
    if isinstance(given, Written):
        given = given.value
    if not isinstance(given, Mapping):
        problems.append(f"{where or 'The settings'} must be a mapping of keys, got {given!r}.")
        return None
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    has_default = isinstance(default, kind)
    values = {}
    for key, value in given.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            hint = did_you_mean(str(key), known).replace("'", "")
            below = list(_below(kind, str(key)))
            if where:
                hint = hint.replace("did you mean ", f"did you mean {where}.")
            if below:
                hint = f"; did you mean {' or '.join(f'{where}.{inner}' if where else inner for inner in below)}?"
            problems.append(f"Unknown key {path}{hint} Known keys: {', '.join(sorted(known))}.")
            continue
        if isinstance(hints[key], type) and dataclasses.is_dataclass(hints[key]):
            values[key] = _build(hints[key], value, path, problems, _default_of(known[key]))
        else:
            values[key] = _convert(hints[key], value, path, problems)
    for name, entry in known.items():
        if not has_default and _default_of(entry) is dataclasses.MISSING and name not in given:
            path = f"{where}.{name}" if where else name
            problems.append(f"{path} must be given: add {path}=... to the command.")
    if problems:
        return None
    try:
        # What is given in part keeps the rest as its owner has it, which need not be as its own class has it.
        return dataclasses.replace(default, **values) if has_default else kind(**values)
    except SettingsError as error:
        problems.append(str(error))
        return None


def _default_of(entry: dataclasses.Field[Any]) -> Any:
    return entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()


def _convert(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, path, problems)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(hint, value, path, problems)
    plain = value.value if isinstance(value, Written) else value
    if origin is typing.Literal:
        if plain in arguments:
            return plain
        near = did_you_mean(str(plain), map(str, arguments)).replace("?", ".")
        problems.append(f"{path} must be one of {', '.join(map(str, arguments))}, got {plain!r}{near}")
        return None
    if origin in (list, tuple):
        items = plain if isinstance(plain, list | tuple) else [value]
        return origin([_convert(arguments[0], item, f"{path}[{n}]", problems) for n, item in enumerate(items)])
    if origin is dict:
        return _convert_mapping(hint, plain, path, problems)
    if hint is str and isinstance(value, Written):
        return value.text
    converted = _scalar(hint, plain)
    if converted is None:
        problems.append(f"{path} must be {_named(hint)}, got {plain!r}.")
    return converted


def _convert_union(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    arguments = typing.get_args(hint)
    plain = value.value if isinstance(value, Written) else value
    if plain is None and type(None) in arguments:
        return None
    for option in arguments:
        found: list[str] = []
        converted = None if option is type(None) else _convert(option, value, path, found)
        if converted is not None and not found:
            return converted
    problems.append(f"{path} must be {_named(hint)}, got {plain!r}.")
    return None


def _convert_mapping(hint: Any, plain: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(plain, Mapping):
        problems.append(f"{path} must be {_named(hint)}, got {plain!r}.")
        return None
    _, kind = typing.get_args(hint)
    return {str(key): _convert(kind, value, f"{path}.{key}", problems) for key, value in plain.items()}


def _scalar(hint: Any, value: Any) -> Any:
    """Return the value as a bool, int, float or str, or None if it is not one."""
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else None
    if hint is int:
        return value if isinstance(value, int) else None
    if hint is str:
        return str(value) if isinstance(value, str | int | float) else None
    if hint is float and isinstance(value, str | int | float):
        try:
            number = float(value)
        except ValueError:
            return None
        return None if math.isnan(number) else number
    return None


def _named(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(_named(argument) for argument in arguments)
    if typing.get_origin(hint) in (list, tuple):
        return f"a list of which each is {_named(arguments[0])}"
    if typing.get_origin(hint) is dict:
        return f"a mapping of names, each to {_named(arguments[1])}"
    return names.get(hint, "a mapping of keys")
