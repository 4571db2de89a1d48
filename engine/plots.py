"""Pictures of fronts by matplotlib: error against file size, for paper, screens and the report."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from engine.front import Front, knee_place
from engine.tables import Card, error_text, error_unit, is_share, size_name, size_of, size_text, size_words
from engine.trial import Point, State, Trial

__all__ = [
    "front_picture",
    "front_titles",
    "knee_card",
    "limit_axes",
    "save_front_picture",
    "size_label",
    "size_ticks",
    "style_axes",
    "to_svg",
]

Limits = tuple[float, float]

# Okabe and Ito's palette: apart for every kind of colour vision; markers and line styles tell the rest in grey print.
INK, LINE, PAPER = "#1b1b1f", "#d9d9de", "#ffffff"
CLOUD, SEARCH, VALID, TEST = "#a8a8ae", "#55555c", "#0072b2", "#d55e00"
VARIABLES = {
    INK: "--ink",
    LINE: "--line",
    PAPER: "--paper",
    CLOUD: "--cloud",
    SEARCH: "--search",
    VALID: "--valid",
    TEST: "--test",
}
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
ANY_SIZE = (0.0, math.inf)
LOG_SPAN = 4.0  # a front of tables begins at the error of a constant: by steps, all others would lie on one line


def front_picture(cards: Sequence[Card], trials: Iterable[Trial], within: Limits = ANY_SIZE) -> Figure:
    """Draw all trials, the front of the search, and the finished front with its test errors and their intervals.

    Args:
        cards: Of the finished members.
        trials: Of the search; failed ones have no place in it.
        within: The least and the largest size of a member of the front.
    """
    metric = str(cards[0].get("metric", "accuracy")) if cards else "accuracy"
    scale = 100.0 if is_share(metric) else 1.0
    size = size_name(cards)
    points = _drawn(trials, size)
    figure = Figure(figsize=(8.0, 5.0), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    _draw_trials(axes, points, scale, _front_of(points, size, within))
    _draw_members(axes, cards, scale)
    style_axes(axes, metric)
    if size != "bytes":
        axes.set_xlabel(f"length as {size.removesuffix('_bytes')}", color=INK)
    _limit(axes, cards, points, scale)
    _number(axes, cards, scale)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def save_front_picture(
    path: Path | str, cards: Sequence[Card], trials: Iterable[Trial], within: Limits = ANY_SIZE
) -> None:
    """Write `front.png` at 150 dots per inch."""
    front_picture(cards, trials, within).savefig(path, dpi=150, format="png", metadata={"Software": None})


def to_svg(figure: Figure, titles: Mapping[str, Sequence[str]]) -> str:
    """Return a picture as SVG for a page: its colours are the page's variables, and its points carry titles.

    Args:
        figure: As drawn by `front_picture`.
        titles: For a series (`trials`, `search`, `valid`, `test`), the text of each point in the order drawn.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lilliput", "svg.id": None}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))
    # The parser of HTML knows the namespaces; without them the page holds no address at all.
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r"(font: [\d.]+px )[^;\"]*", r"\1system-ui, sans-serif", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    for series, lines in titles.items():
        text = _titled(text, series, lines)
    return text


def front_titles(cards: Sequence[Card], trials: Iterable[Trial], within: Limits = ANY_SIZE) -> dict[str, list[str]]:
    """Return the text of each point that `front_picture` draws, for `to_svg`."""
    metric = str(cards[0].get("metric", "accuracy")) if cards else "accuracy"
    size = size_name(cards)
    points = _drawn(trials, size)
    owner = {(p.candidate.key, p.sha256): number for number, p in points}

    def tell(point: Point) -> str:
        number = owner[point.candidate.key, point.sha256]
        return f"trial {number}: {error_text(point.values['error'], metric)}, {size_words(point.values[size], size)}"

    def tell_card(card: Card, rows: str) -> str:
        return f"member {card['member']:02d}: {error_text(card[rows]['error'], metric)} on {rows} rows, " + size_text(
            card
        )

    return {
        "trials": [tell(point) for _, point in points],
        "search": [tell(point) for point in _front_of(points, size, within)],
        "valid": [tell_card(card, "validation") for card in _by_size(cards)],
        "test": [tell_card(card, "test") for card in _by_size(cards) if card.get("test")],
    }


def size_ticks(low: float, high: float) -> list[float]:
    """Return round sizes between two sizes, at least four where they can be, at most nine.

    Example:
        >>> size_ticks(450, 21000)
        [500, 1000, 2000, 5000, 10000, 20000]
    """
    chosen: list[float] = []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in STEPS:
        ticks = [step * 10**decade for decade in decades for step in steps if low <= step * 10**decade <= high]
        if len(ticks) > 9 and chosen:
            break
        chosen = ticks
        if len(chosen) >= 5:
            break
    if len(chosen) < 3:
        chosen = [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    return chosen


def size_label(size: float) -> str:
    """Return a size for an axis.

    Example:
        >>> size_label(500), size_label(2000), size_label(1.5e6)
        ('500 B', '2 kB', '1.5 MB')
    """
    for limit, unit in ((1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.5g} {unit}"
    return f"{size:g} B"


def style_axes(axes: Any, metric: str) -> None:
    """Give axes the look of all our pictures: sizes by ratio, few lines."""
    axes.set_xscale("log")
    axes.set_xlabel("length of the file", color=INK)
    axes.set_ylabel(_error_label(metric), color=INK)
    axes.grid(True, color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=INK, length=3, width=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_linewidth(0.7)


def limit_axes(axes: Any, sizes: Sequence[float], errors: Sequence[float]) -> None:
    """Set the ends and ticks of both axes so that all is seen; errors go by ratio where they span more than 4 x."""
    low, high = min(sizes) / 1.15, max(sizes) * 1.15
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(size_ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_label(size)))
    least, most = min(errors), max(errors)
    if least > 0 and most / least > LOG_SPAN:
        axes.set_yscale("log")
        axes.set_ylim(least / 1.2, most * 1.2)
        axes.yaxis.set_major_locator(FixedLocator(size_ticks(least / 1.2, most * 1.2)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        room = 0.06 * (most - least) or 0.1 * most or 0.1
        axes.set_ylim(max(least - room, min(least, 0.0) - room / 3), most + room)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{error:.5g}"))


def _error_label(metric: str) -> str:
    if metric == "accuracy":
        return "error in %"
    return f"1 - {metric} in %" if is_share(metric) else f"error, {error_unit(metric).strip('()')}"


def _drawn(trials: Iterable[Trial], size: str) -> list[tuple[int, Point]]:
    done = [trial for trial in trials if trial.state is State.COMPLETE]
    return [
        (t.number, p) for t in done for p in t.points if math.isfinite(p.values["error"]) and p.values.get(size, 0) > 0
    ]


def _by_size(cards: Sequence[Card]) -> list[Card]:
    return sorted(cards, key=size_of)


def _front_of(points: Sequence[tuple[int, Point]], size: str, within: Limits) -> Front:
    least, largest = within
    return Front.of((point for _, point in points if point.values[size] <= largest), cost=size, floor=least)


def _draw_trials(axes: Any, points: Sequence[tuple[int, Point]], scale: float, best: Front) -> None:
    if not points:
        return
    sizes = [point.values[best.cost] for _, point in points]
    errors = [scale * point.values["error"] for _, point in points]
    axes.plot(sizes, errors, "o", color=CLOUD, markersize=4, markeredgewidth=0, label="trial", gid="trials")
    front = best.pairs()
    look = {"color": SEARCH, "linewidth": 1.1, "linestyle": "--", "marker": "s", "markersize": 3.5}
    stairs = {"drawstyle": "steps-pre", "label": "front of the search", "gid": "search"}
    axes.plot([size for _, size in front], [scale * error for error, _ in front], **look, **stairs)


def _draw_members(axes: Any, cards: Sequence[Card], scale: float) -> None:
    if not cards:
        return
    ordered = _by_size(cards)
    tested = [card for card in ordered if card.get("test")]
    if tested:
        errors = [scale * card["test"]["error"] for card in tested]
        ends = [
            [scale * float(card["test"].get(end) or card["test"]["error"]) for card in tested]
            for end in ("low", "high")
        ]
        sizes = [size_of(card) for card in tested]
        axes.vlines(sizes, ends[0], ends[1], color=TEST, linewidth=1.1, alpha=0.75)
        look = {"color": TEST, "linestyle": "none", "marker": "D", "markersize": 5.5, "markerfacecolor": PAPER}
        told = ", 95 %" if any(low < high for low, high in zip(*ends, strict=True)) else ""
        axes.plot(sizes, errors, **look, label=f"finished, test rows{told}", gid="test")
    sizes, errors = [size_of(c) for c in ordered], [scale * c["validation"]["error"] for c in ordered]
    axes.plot(sizes, errors, "o", color=VALID, markersize=6.5, label="finished, validation rows", gid="valid", zorder=4)
    knee = knee_card(cards)
    ring = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.2}
    label = f"knee: member {knee['member']:02d}, {size_text(knee)}"
    axes.plot([size_of(knee)], [scale * knee["validation"]["error"]], "o", **ring, label=label, gid="knee", zorder=5)


def knee_card(cards: Sequence[Card]) -> Card:
    """Return the member at the knee, by validation error and size."""
    return cards[knee_place([(float(card["validation"]["error"]), float(size_of(card))) for card in cards])]


def _limit(axes: Any, cards: Sequence[Card], points: Sequence[tuple[int, Point]], scale: float) -> None:
    sizes = [point.values[size_name(cards)] for _, point in points] + [size_of(card) for card in cards]
    errors = [point.values["error"] for _, point in points] + [card["validation"]["error"] for card in cards]
    tests = [card["test"] for card in cards if card.get("test")]
    errors += [float(test.get("high") or test["error"]) for test in tests]
    lows = [float(test.get("low") or test["error"]) for test in tests]
    # A lower end near zero must not stretch an axis by ratio over decades in which there are no points.
    least = min(errors, default=0.0)
    errors += [max(low, 0.5 * least) for low in lows]
    limit_axes(axes, sizes or [1000.0], [scale * error for error in errors] or [1.0])


def _number(axes: Any, cards: Sequence[Card], scale: float) -> None:
    """Write the numbers of the members under their points, where there is room."""
    taken: list[tuple[float, float]] = []
    knee = knee_card(cards) if cards else None
    for card in sorted(_by_size(cards), key=lambda c: c is not knee):
        place = (size_of(card), scale * card["validation"]["error"])
        x, y = axes.transData.transform(place)
        if any(abs(x - other) < 14 and abs(y - height) < 16 for other, height in taken):
            continue
        taken.append((x, y))
        look = {"textcoords": "offset points", "fontsize": 8, "color": VALID, "ha": "right", "va": "top"}
        paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
        axes.annotate(f"{card['member']:02d}", place, xytext=(-5, -4), bbox=paper, zorder=3, **look)


def _titled(text: str, series: str, lines: Sequence[str]) -> str:
    found = re.search(rf'^( *)<g id="{series}">$', text, flags=re.MULTILINE)
    if found is None:
        return text
    start = found.start()
    end = text.index(f"\n{found.group(1)}</g>", start)
    pieces = re.split(r"(<use [^>]*)/>", text[start:end])
    if len(pieces) // 2 < len(lines):
        return text
    for number, line in enumerate(lines):
        pieces[2 * number + 1] += f"><title>{html.escape(line)}</title></use>"
    for number in range(len(lines), len(pieces) // 2):
        pieces[2 * number + 1] += "/>"
    return text[:start] + "".join(pieces) + text[end:]
