"""report.html: one page that tells what a run searched and found; opens offline, runs nothing from the data."""

from __future__ import annotations

import html
import json
import math
import shlex
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.drawing import cell_picture
from engine.errors import EngineError
from engine.page import page
from engine.plots import front_picture, front_titles, knee_card, save_front_picture, to_svg
from engine.progress import duration_text
from engine.tables import (
    Card,
    bytes_text,
    error_number,
    error_text,
    is_share,
    read_cards,
    read_settings,
    read_trials,
    size_name,
    size_of,
    size_text,
)
from engine.trial import State, Trial

__all__ = ["write_report"]

MAX_TEXT = 300
MAX_CLASSES = 20
MOST_COLUMNS = 20  # whose importance is shown


def write_report(run_folder: Path | str) -> Path:
    """Write `report.html` and `front.png` into a finished run.

    Args:
        run_folder: With settings.yaml, trials.jsonl and front/.

    Returns:
        Path of the page.

    Raises:
        RecordError: If the folder is no finished run.
    """
    folder = Path(run_folder)
    cards, trials, settings = read_cards(folder), read_trials(folder), read_settings(folder)
    within = (float(settings.get("min_bytes") or 0), float(settings.get("max_bytes") or math.inf))
    save_front_picture(folder / "front.png", cards, trials, within)
    picture = to_svg(front_picture(cards, trials, within), front_titles(cards, trials, within))
    parts = [
        _heading(folder, settings, cards, trials),
        f"<h2>The front</h2>\n<figure>{picture}</figure>",
        _table(cards),
        "<h2>The members</h2>",
        *[_member(folder, card, is_knee=card is knee_card(cards)) for card in cards],
        _trials(trials),
        _resume(folder, settings),
        _all_settings(settings),
    ]
    path = folder / "report.html"
    path.write_text(page(f"{folder.resolve().name} - Lilliput", "\n".join(parts)), encoding="utf-8")
    return path


def _text(value: object) -> str:
    return html.escape(str(value))


def _heading(folder: Path, settings: Mapping[str, Any], cards: Sequence[Card], trials: Sequence[Trial]) -> str:
    metric = str(cards[0].get("metric", "accuracy"))
    best, knee, smallest = cards[0], knee_card(cards), min(cards, key=size_of)
    answers = [("most accurate", best), ("knee", knee), ("smallest", smallest)]
    found = ", ".join(
        f'{what} <a href="#member-{card["member"]:02d}">{error_text(card["validation"]["error"], metric)}'
        f" in {size_text(card)}</a>"
        for what, card in answers
    )
    count = sum(trial.is_paid for trial in trials)
    return (
        f"<h1>{_text(folder.resolve().name)}</h1>\n"
        f'<p class="lead">{_text(settings_in_words(settings))}</p>\n'
        f"<p>{count} trials were paid for; the front has {len(cards)} files: {found} (error on validation rows).</p>"
    )


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return the settings that matter most as one sentence."""
    data = settings.get("data")
    if isinstance(data, Mapping):
        data = data.get("path") or data.get("name")
    words = f"Searched {_named(settings.get('space')) or 'a space'} on {data or 'its data'}"
    limits = {"budget": "{} trials", "seconds": "{} s", "max_bytes": "at most {} B", "seed": "seed {}", "lag": "lag {}"}
    told = [form.format(settings[name]) for name, form in limits.items() if settings.get(name) is not None]
    return f"{words}: {', '.join(told)}." if told else f"{words}."


def _named(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", ""))
    return "" if value is None else f"space {value}"


def _table(cards: Sequence[Card]) -> str:
    metric = str(cards[0].get("metric", "accuracy"))
    unit = " %" if is_share(metric) else ""
    sizes = dict.fromkeys((size_name(cards), "bytes"))
    names = ["member", f"validation{unit}", f"test{unit}", "95 % interval", *sizes, "parameters", "coding", "µs a row"]
    heads = "".join(f"<th{_left(name)}><button>{_text(name.replace('_', ' '))}</button></th>" for name in names)
    knee = knee_card(cards)
    rows = "\n".join(_row(card, metric, ' class="knee"' if card is knee else "") for card in cards)
    return (
        f'<div class="scroll"><table class="sortable">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'
        '</table></div>\n<p class="dim">Members were chosen on validation rows; the test rows were looked at once, '
        "afterwards. Click on a heading to sort. The knee is bold.</p>"
    )


def _left(name: str) -> str:
    return ' class="text"' if name == "coding" else ""


def _row(card: Card, metric: str, kind: str) -> str:
    test = card.get("test") or {}
    cells = [
        (card["member"], f'<a href="#member-{card["member"]:02d}">{card["member"]:02d}</a>'),
        (card["validation"]["error"], error_number(card["validation"]["error"], metric)),
        (test.get("error", ""), error_number(test.get("error"), metric)),
        (test.get("low", ""), _interval(test, metric)),
        *[(card[name], f"{card[name]:,}") for name in dict.fromkeys((size_name([card]), "bytes"))],
        (card.get("parameters", ""), f"{card['parameters']:,}" if card.get("parameters") is not None else "-"),
    ]
    numbers = "".join(f'<td data-key="{_text(key)}">{shown}</td>' for key, shown in cells)
    latency = card.get("latency_us")
    shown = "-" if latency is None else f"{latency:,.1f}"
    coding = f'<td class="text">{_text(card.get("coding") or "-")}</td>'
    return f'<tr{kind}>{numbers}{coding}<td data-key="{_text(latency)}">{shown}</td></tr>'


def _interval(score: Mapping[str, Any], metric: str) -> str:
    if score.get("low") is None or score.get("high") is None:
        return "-"
    return f"{error_number(score['low'], metric)} – {error_number(score['high'], metric)}"


def _member(folder: Path, card: Card, *, is_knee: bool) -> str:
    metric, number = str(card.get("metric", "accuracy")), f"{card['member']:02d}"
    tag = '<span class="tag">knee</span>' if is_knee else ""
    tag += "" if card.get("finished", True) else '<span class="tag">not finished: as the search left it</span>'
    head = f"{error_text(card['validation']['error'], metric)} in {size_text(card)}"
    return "\n".join(
        [
            f'<article id="member-{number}"><header><h3>{number} · {head}</h3>{tag}',
            f'<p class="dim">{_text(card.get("description", ""))}</p></header>',
            _drawing(card),
            _facts(card, metric),
            _steps(card),
            _inspection(card),
            f"<details><summary>genes</summary>{_pairs(card.get('candidate') or {})}</details>",
            f"<pre>{_text(_usage(folder, card))}</pre></article>",
        ]
    )


def _drawing(card: Card) -> str:
    graph = card.get("graph")
    if not graph:
        return ""
    try:
        return cell_picture(graph)
    except (EngineError, KeyError, IndexError, TypeError) as error:
        return f'<p class="dim">The cell cannot be drawn: {_text(error)}</p>'


def _facts(card: Card, metric: str) -> str:
    test = card.get("test")
    facts: dict[str, object] = {"validation": _score(card["validation"], metric)}
    facts["test"] = _score(test, metric) if test else "not measured"
    sizes = [bytes_text(card["bytes"])]
    for name, word in (("decoded_bytes", "decoded"), ("peak_memory", "peak memory")):
        if card.get(name) is not None:
            sizes.append(f"{word} {bytes_text(card[name])}")
    facts["size"] = ", ".join(sizes)
    classes = [str(name) for name in card.get("classes") or ()]
    if classes:
        more = f", ... ({len(classes)} in all)" if len(classes) > MAX_CLASSES else ""
        facts["classes"] = ", ".join(classes[:MAX_CLASSES]) + more
    means = len(card.get("mean_of", {}))
    facts["trial"] = f"{f'mean of {means}' if means else card.get('trial', '-')}, key {card.get('key', '-')}"
    facts["sha256"] = card.get("sha256", "-")
    return _pairs(facts)


def _score(score: Mapping[str, Any], metric: str) -> str:
    text = error_text(score["error"], metric)
    if _interval(score, metric) != "-":
        text += f", 95 % interval {_interval(score, metric)}"
    return f"{text}, {score['rows']:,} rows" if score.get("rows") else text


def _pairs(facts: Mapping[str, object]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _steps(card: Card) -> str:
    steps = card.get("steps") or []
    if not steps:
        return ""
    lines = "".join(f"<li>{_text(step.get('step', ''))}: {_text(_flat(step.get('detail', '')))}</li>" for step in steps)
    return f"<p>How it was made:</p><ol>{lines}</ol>"


def _inspection(card: Card) -> str:
    """What the family measured of the file on validation rows, as far as it did: behind one summary a kind."""
    made: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []
    importance = card.get("importance")
    if importance:
        largest = sorted(importance.items(), key=lambda entry: -entry[1])[:MOST_COLUMNS]
        shown = [(name, f"{value:+.4g}") for name, value in largest]
        title = "importance: how much the error grows when a column is shuffled"
        more = f" ({len(shown)} of {len(importance)} columns)" if len(shown) < len(importance) else ""
        made.append((title + more, ("column", "error"), shown))
    if card.get("calibration"):
        parts = [(f"{part['said']:.3f}", f"{part['was']:.3f}", str(part["rows"])) for part in card["calibration"]]
        made.append(("calibration: what was said and what was", ("probability", "share of rows", "rows"), parts))
    if card.get("confusion"):
        names = [str(name) for name in card.get("classes") or ()]
        rows = [(name, *map(str, counts)) for name, counts in zip(names, card["confusion"], strict=False)]
        made.append(("confusion: rows by class (down) and answer (across)", ("", *names), rows))
    if card.get("residuals"):
        rows = [(name, f"{value:.4g}") for name, value in card["residuals"].items()]
        made.append(("residuals: answer minus target", ("of the rows below", "residual"), rows))
    return "".join(_folded(*part) for part in made)


def _folded(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = [_cells(tag, row) for tag, row in (("th", heads), *(("td", row) for row in rows))]
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'
    return f"<details><summary>{_text(title)}</summary>{table}</details>"


def _cells(tag: str, row: Sequence[str]) -> str:
    first, *rest = map(_text, row)
    return f'<tr><{tag} class="text">{first}</{tag}>' + "".join(f"<{tag}>{cell}</{tag}>" for cell in rest) + "</tr>"


def _flat(detail: Any) -> str:
    if isinstance(detail, Mapping):
        return ", ".join(f"{name} {value}" for name, value in detail.items())
    return str(detail)


def _usage(folder: Path, card: Card) -> str:
    path = json.dumps((folder / "front" / f"{card['member']:02d}" / "model.onnx").as_posix())
    takes = '"x": x, "c": c' if card.get("categorical_columns") else '"x": x'
    gives = "values" if card.get("task") == "regression" else "class probabilities"
    return (
        f"import onnxruntime\nsession = onnxruntime.InferenceSession({path})\n"
        f"y = session.run(None, {{{takes}}})[0]  # in: rows as in the data; out: {gives}"
    )


def _trials(trials: Sequence[Trial]) -> str:
    states = Counter(trial.state for trial in trials)
    done = [trial.seconds for trial in trials if trial.state is State.COMPLETE]
    told = ", ".join(f"{states[state]} {state.value}" for state in State if states[state])
    lines = [f"<h2>The trials</h2><p>{len(trials)} proposals: {told or 'none'}."]
    if done:
        lines.append(
            f"Inside the trials: {duration_text(sum(trial.seconds for trial in trials))} in all, "
            f"a complete one {statistics.median(done):.1f} s (median), {max(done):.1f} s (longest)."
        )
    return " ".join(lines) + "</p>\n" + _failures(trials)


def _failures(trials: Sequence[Trial]) -> str:
    groups: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state is State.FAILED:
            groups.setdefault(failure_line(trial.error), []).append(trial.number)
    if not groups:
        return ""
    rows = "".join(
        f'<tr><td>{len(numbers)}</td><td class="text wrap">{_text(line)}</td><td class="text wrap">'
        f"{', '.join(map(str, numbers[:8]))}{', ...' if len(numbers) > 8 else ''}</td></tr>"
        for line, numbers in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    heads = '<th>count</th><th class="text">failure</th><th class="text">trials</th>'
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def failure_line(text: str) -> str:
    """Return the line of a failure that tells most: the last one of a trace, cut where it is long."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    line = lines[-1].strip() if lines else "no text"
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."


def _resume(folder: Path, settings: Mapping[str, Any]) -> str:
    family, budget = settings.get("family", "nas"), settings.get("budget")
    more = f" budget={2 * budget}" if isinstance(budget, int) else ""
    command = f"python -m {family}.search run={shlex.quote(folder.as_posix())}{more}"
    return f"<h2>Go on</h2><p>Resume the search with a larger budget:</p><pre>{_text(command)}</pre>"


def _all_settings(settings: Mapping[str, Any]) -> str:
    return f"<details><summary>all settings</summary>{_pairs(settings)}</details>"
