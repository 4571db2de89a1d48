"""YAML as nodes that know their lines: texts stay texts, keys are known, everything amiss is collected."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import yaml

from engine.errors import SettingsError, did_you_mean

__all__ = ["Document", "Node", "open_document"]

MOST_BYTES = 1_000_000
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in "map seq str int float bool null".split())  # noqa: SIM905
Node = yaml.Node


@final
@dataclass(eq=False)
class Document:
    """What is being read, and what is amiss so far.

    Args:
        name: Of the file, in messages.
        problems: Line and sentence of each, in the order of their finding.
    """

    name: str
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, node: Node | None, where: str, message: str) -> None:
        """Note something amiss: where in the file, what must hold, what to do."""
        line = node.start_mark.line + 1 if node is not None else 0
        place = f"line {line}: " if line else ""
        self.problems.append(
            (
                line,
                f"{self.name}: {place}{f'{where}: ' if where else ''}{message}{'' if message.endswith('?') else '.'}",
            )
        )

    def finish(self) -> None:
        """Raise everything that is amiss.

        Raises:
            SettingsError: If there is anything.
        """
        if self.problems:
            raise SettingsError("\n".join(dict.fromkeys(text for _, text in sorted(self.problems))))

    def fields(self, node: Node, where: str, known: Collection[str]) -> dict[str, Node]:
        """Return the values of a mapping by key; unknown and repeated keys are amiss, values of null left out."""
        if not isinstance(node, yaml.MappingNode):
            self.add(node, where, f"there must be a mapping with the keys {', '.join(known)}, got {_what(node)}")
            return {}
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name not in known:
                self.add(key, where, f"unknown key {name}{did_you_mean(name, known)} Known keys: {', '.join(known)}")
            elif name in found:
                self.add(key, where, f"the key {name} is given twice; keep one of them")
            elif value.tag != "tag:yaml.org,2002:null":
                found[name] = value
        return found

    def entries(self, node: Node, where: str) -> dict[str, Node]:
        """Return the values of a mapping with keys of the user's; repeated keys are amiss."""
        if not isinstance(node, yaml.MappingNode):
            self.add(node, where, f"there must be a mapping, such as `{{age: ...}}`, got {_what(node)}")
            return {}
        names = [key.value if isinstance(key, yaml.ScalarNode) else "?" for key, _ in node.value]
        for name, count in Counter(names).items():
            if count > 1:
                self.add(node, where, f"the key {name} is given twice; keep one of them")
        return {name: value for name, (_, value) in zip(names, node.value, strict=True)}

    def items(self, node: Node, where: str) -> list[Node]:
        """Return the entries of a list; a single value is a list of one."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if isinstance(node, yaml.ScalarNode):
            return [node]
        self.add(node, where, f"there must be a list, got {_what(node)}")
        return []

    def text(self, node: Node, where: str) -> str | None:
        """Return a text as it is written: `no` is the text no; None where there is something else, which is amiss."""
        if isinstance(node, yaml.ScalarNode) and node.value.strip():
            return str(node.value).strip()
        self.add(node, where, f"there must be a text, got {_what(node)}")
        return None

    def number(self, node: Node, where: str, *, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a finite number within limits; None where there is something else, which is amiss."""
        limits = "" if math.isinf(low) and math.isinf(high) else f" from {low:g} to {high:g}"
        try:
            value = float(node.value) if isinstance(node, yaml.ScalarNode) else math.nan
        except ValueError:
            value = math.nan
        if math.isfinite(value) and low <= value <= high:
            return value
        self.add(node, where, f"there must be a number{limits.replace(' to inf', ' on')}, got {_what(node)}")
        return None

    def whole(self, node: Node, where: str) -> int | None:
        """Return a positive whole number; None where there is something else, which is amiss."""
        if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"[1-9]\d{0,8}", node.value):
            return int(node.value)
        self.add(node, where, f"there must be a whole number from 1 on, got {_what(node)}")
        return None

    def choice(self, node: Node, where: str, known: Collection[str]) -> str | None:
        """Return one of some words; None where there is something else, which is amiss."""
        found = self.text(node, where)
        if found is None or found in known:
            return found
        self.add(node, where, f"there must be one of {', '.join(known)}, got {found}{did_you_mean(found, known)}")
        return None


def open_document(path: Path) -> tuple[Document, Node]:
    """Read a YAML file into nodes.

    Raises:
        SettingsError: If there is no such file, or it is no single plain YAML document.
    """
    document = Document(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: the file of rules cannot be read ({error.strerror}); give its path.") from error
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{path.name}: a file of rules has at most {MOST_BYTES} bytes, this one {len(content)}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path.name}: line {line}: the file must be UTF-8; save it as such.") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_aliases(document, text)
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path.name}: {_syntax(error)}") from error
    if node is None:
        raise SettingsError(f"{path.name}: the file is empty; write at least `rules:` with one rule.")
    document.finish()
    return document, node


def _refuse_aliases(document: Document, text: str) -> None:
    """Refuse what would let a short text stand for a long one, or for objects."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        place, tag = f"{document.name}: line {line}", getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            document.problems.append((line, f"{place}: anchors and aliases are not read; repeat what is meant."))
        elif tag and tag not in PLAIN_TAGS and tag != "!":
            document.problems.append((line, f"{place}: the tag {tag} is not read; remove it."))


def _syntax(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "this is no YAML that can be read; is something nested too deeply, or not a text?"
    if isinstance(error, yaml.composer.ComposerError):
        return f"line {mark.line + 1}: there must be one YAML document; remove what follows `---`."
    problem = str(getattr(error, "problem", "")) or "the structure is broken"
    hint = "indent with spaces only" if "\\t" in problem else (
        "check quotes, colons and indentation there; put a condition that holds a colon into quotes"
    )  # fmt: skip
    return f"line {mark.line + 1}, column {mark.column + 1}: YAML: {problem}; {hint}."


def _what(node: Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return f"a mapping of {len(node.value)} keys"
    if isinstance(node, yaml.SequenceNode):
        return f"a list of {len(node.value)}"
    return f"'{node.value}'" if node.value else "nothing"
