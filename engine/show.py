"""Command: what a run found, and why one member was picked. `python -m engine.show run=runs/x [member=3]`."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.command import settings_command
from engine.errors import RecordError
from engine.front import is_dominated
from engine.plots import knee_card
from engine.tables import (
    Card,
    bytes_text,
    error_text,
    front_table,
    is_share,
    print_table,
    read_cards,
    read_trials,
    size_name,
    size_of,
    size_text,
    size_words,
)
from engine.trial import Point, Trial

__all__ = ["describe_member", "describe_run", "main"]

USAGE = """usage: python -m engine.show run=FOLDER [member=NUMBER]

Without member: the table of the finished front, its knee and the best members.
With member: its genes and steps, and why it was picked: what it dominates nearby, its neighbours on the front,
and what a little more accuracy costs there.
"""
NEIGHBOURS = 5


@dataclass(frozen=True)
class _Wanted:
    run: str
    member: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 for an error that it told on standard error."""
    return settings_command(_Wanted, _told, usage=USAGE, arguments=arguments)


def _told(wanted: _Wanted) -> str:
    cards, trials = read_cards(wanted.run), read_trials(wanted.run)
    if wanted.member is not None:
        return "\n".join(describe_member(cards, trials, wanted.member))
    text = io.StringIO()
    print_table(front_table(cards), text)
    return text.getvalue() + "\n".join(describe_run(cards))


def describe_run(cards: Sequence[Card]) -> list[str]:
    """Return the lines under the table of a front: most accurate, knee, smallest."""
    named = {"most accurate": cards[0], "knee": knee_card(cards), "smallest": min(cards, key=size_of)}
    return ["", *[f"{name + ':':<15}{_headline(card)}" for name, card in named.items()]]


def describe_member(cards: Sequence[Card], trials: Sequence[Trial], member: int) -> list[str]:
    """Return what is known about one member, and why it was picked.

    Args:
        cards: Of the whole front, most accurate first.
        trials: Of the search.
        member: Its number.

    Raises:
        RecordError: If the front has no such member.
    """
    places = {int(card["member"]): place for place, card in enumerate(cards)}
    if member not in places:
        raise RecordError(f"member must be one of {', '.join(map(str, sorted(places)))}, got {member}.")
    place = places[member]
    card = cards[place]
    better = cards[place - 1] if place else None
    smaller = cards[place + 1] if place + 1 < len(cards) else None
    return [
        _headline(card),
        *_facts(card),
        "",
        "why it was picked:",
        *_dominated(card, trials),
        f"  next more accurate: {_neighbour(card, better, 'none: this is the most accurate member')}",
        f"  next less accurate: {_neighbour(card, smaller, 'none: this is the last member')}",
        f"  {_price(card, better)}",
    ]


def _metric(card: Card) -> str:
    return str(card.get("metric", "accuracy"))


def _error(card: Card) -> float:
    return float(card["validation"]["error"])


def _headline(card: Card) -> str:
    test = card.get("test")
    text = f"member {card['member']:02d}, {error_text(_error(card), _metric(card))} validation error"
    if test:
        text += f", {error_text(test['error'], _metric(card))} test error"
    return f"{text}, {size_text(card)}"


def _facts(card: Card) -> list[str]:
    genes = card.get("candidate") or {}
    lines = [f"  {card['description']}"] if card.get("description") else []
    lines += ["", "genes:", *_columns(genes)]
    steps = card.get("steps") or []
    if steps:
        lines += [
            "",
            "steps:",
            *_columns({f"{n}. {s.get('step')}": s.get("detail", "") for n, s in enumerate(steps, 1)}),
        ]
    return lines


def _columns(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in values.items()]


def _dominated(card: Card, trials: Sequence[Trial]) -> list[str]:
    """Tell the nearest trials that the member beats in the search, where it was picked."""
    scored = [(trial.number, point) for trial in trials for point in trial.points]
    by_key = {point.candidate.key: (number, point) for number, point in reversed(scored)}
    size, metric, means = size_name([card]), _metric(card), card.get("mean_of", {})
    if card.get("key") in by_key:
        number, point = by_key[str(card["key"])]
        here, name = _pair(point, size), f"trial {number}"
    elif means and all(key in by_key for key in means):
        here = _error(card), size_of(card)
        members = sorted(means.items(), key=lambda entry: -entry[1])
        name = "mean of " + ", ".join(f"trial {by_key[key][0]} ({share:.0%})" for key, share in members)
    else:
        return ["  the record has no trial with its key; it cannot be compared with the others."]
    beaten = [(other, p) for other, p in scored if is_dominated(_pair(p, size), [here])]
    beaten.sort(key=lambda entry: _distance(here, _pair(entry[1], size)))
    picked = f"{name}, {error_text(here[0], metric)} in {size_words(here[1], size)}"
    if not any(is_dominated(here, [_pair(p, size)]) for _, p in scored):
        picked += ", on the front of the search: no trial was as good on both"
    lines = [f"  {picked}", f"  it dominates {len(beaten)} of {len(scored)} points" + ("; nearest:" if beaten else ".")]
    lines += [
        f"    trial {other:>4}  {error_text(p.values['error'], metric):>9}  {bytes_text(p.values[size]):>11}"
        for other, p in beaten[:NEIGHBOURS]
    ]
    return lines


def _pair(point: Point, size: str) -> tuple[float, float]:
    return point.values["error"], point.values[size]


def _distance(here: tuple[float, float], other: tuple[float, float]) -> float:
    """Compare errors and sizes by ratio; an error of nothing counts as a thousandth."""
    errors = math.log(max(other[0], 1e-3) / max(here[0], 1e-3))
    return math.hypot(errors, math.log(max(other[1], 1.0) / max(here[1], 1.0)))


def _neighbour(card: Card, other: Card | None, nothing: str) -> str:
    if other is None:
        return nothing
    size = size_of(other) - size_of(card)
    return f"{_headline(other)} ({_change(_error(other) - _error(card), _metric(card))}, {size:+,} B)"


def _change(difference: float, metric: str) -> str:
    return f"{100 * difference:+.2f} points" if is_share(metric) else f"{difference:+.4g}"


def _price(card: Card, better: Card | None) -> str:
    """Return what the next step in accuracy costs: the slope to the more accurate neighbour."""
    share = is_share(_metric(card))
    step, name = (0.001, "0.1 points of error") if share else (0.001, f"0.001 of {_metric(card)}")
    if better is None:
        return f"the next {name}: no member is more accurate, at any size."
    gain, cost = _error(card) - _error(better), size_of(better) - size_of(card)
    if gain <= 0:
        return f"the next {name}: no price, member {better['member']:02d} has the same validation error."
    if cost <= 0:
        return f"the next {name} cost nothing: member {better['member']:02d} is more accurate and not larger."
    return f"the next {name} cost about {bytes_text(cost * step / gain)} here (slope to member {better['member']:02d})."


if __name__ == "__main__":
    sys.exit(main())
