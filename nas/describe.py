"""What a card says of a network in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from compression.codings import coding_named
from engine.trial import Point, Trial

__all__ = ["Description", "Part", "told"]


@final
@dataclass(frozen=True)
class Part:
    """A part of a network that has a width and a coding of its own.

    Args:
        name: As the card calls it: `stage 0`.
        width: Channels while training starts.
        kept: Channels in the file.
        coding: Of its weights.
    """

    name: str
    width: int
    kept: int
    coding: str


@final
@dataclass(frozen=True, eq=False)
class Description:
    """A network in words.

    Args:
        text: In a line.
        parts: In order.
        edge_codings: Of the layers at both ends, by what the card calls them; `last layer` is one of them.
        graph: `nodes` and `edges`, as `engine.drawing` takes them.
    """

    text: str
    parts: Sequence[Part]
    edge_codings: Mapping[str, str]
    graph: Mapping[str, Any]


def told(description: Description, point: Point, trials: Sequence[Trial], *, is_share: bool) -> dict[str, Any]:
    """Return description, compression steps and graph as a card holds them.

    Args:
        description: Of the winner.
        point: As the search scored it.
        trials: All trials, for the reason where nothing was removed; none, and it is not told.
        is_share: Whether errors are shares of rows, which are told in per cent.
    """
    show = "{:.2%}".format if is_share else "{:.4g}".format
    parts = description.parts
    steps = [*_removal(parts, point, trials, show), *_thinning(parts), _quantization(parts, description.edge_codings)]
    return {"description": description.text, "steps": steps, "graph": dict(description.graph)}


def _removal(
    parts: Sequence[Part], point: Point, trials: Sequence[Trial], show: Callable[[float], str]
) -> list[dict[str, str]]:
    if not parts:
        return []
    cut = [f"{part.name}: {part.kept} of {part.width}" for part in parts if part.kept < part.width]
    if cut:
        return [
            {
                "step": "channels removed",
                "detail": "by L1 norm and gain, after a quarter of the training; kept " + "; ".join(cut),
            }
        ]
    if not trials:
        return []
    limit = point.values["bytes"]
    rivals = [
        other.values["error"]
        for trial in trials
        for other in trial.points
        if other.values["bytes"] <= limit and any(_is_cut(name, value) for name, value in other.candidate.values)
    ]
    found = f"the best of {len(rivals)} tried had {show(min(rivals))}" if rivals else "none that small was tried"
    return [
        {
            "step": "channels kept at 100 %",
            "detail": f"no network with removed channels did better than {show(point.values['error'])} in "
            f"{limit:.0f} bytes: {found}",
        }
    ]


def _thinning(parts: Sequence[Part]) -> list[dict[str, str]]:
    shares = {part.name: coding_named(part.coding).density for part in parts}
    words = [f"{name}: {share:.0%} of the weights stay" for name, share in shares.items() if share < 1]
    detail = "by magnitude, in steps while training went on; " + "; ".join(words)
    return [{"step": "small weights removed", "detail": detail}] if words else []


def _is_cut(name: str, value: object) -> bool:
    return name.endswith(".keep") and isinstance(value, float) and value < 1.0


def _quantization(parts: Sequence[Part], edge_codings: Mapping[str, str]) -> dict[str, str]:
    before = [f"{name} {coding}" for name, coding in edge_codings.items() if name != "last layer"]
    inner = [f"{part.name} {part.coding}" for part in parts]
    last = [f"last layer {edge_codings['last layer']}"]
    return {
        "step": "weights quantized",
        "detail": "in training, a scale for each channel: " + ", ".join([*before, *inner, *last]),
    }
