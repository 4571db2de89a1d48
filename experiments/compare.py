"""Fronts side by side: `python -m experiments.compare runs/a runs/b ... [out=compare.png] [reference=0.9,100000]`."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from rich.table import Table

from engine.errors import EngineError, RecordError, SettingsError
from engine.plots import INK, PAPER, limit_axes, size_label, style_axes
from engine.settings import build, from_arguments
from engine.tables import Card, error_number, is_share, print_table, read_cards, read_settings

__all__ = ["Run", "additive_epsilon", "coverage", "dominated_area", "error_at", "main", "read_runs"]

USAGE = """usage: python -m experiments.compare FOLDER FOLDER ... [out=compare.png] [reference=ERROR,BYTES]
                                     [on=validation|test]

Compares finished runs; runs whose settings differ only in the seed are one group. Prints sizes and errors, the area
under which a front dominates, coverage and the additive epsilon indicator, and draws all fronts into one picture.
"""
DEFINITIONS = (
    "area: the hypervolume, in (error, log10 bytes), up to the reference point; higher is better.",
    "coverage C(A, B): share of B's members that some member of A equals or beats in both error and bytes.",
    "epsilon(A, B): the least e so that A, at the size of every member of B, errs at most e more than that member;",
    "  where A has nothing that small, its error is the reference error. Lower is better; below zero: A always wins.",
)
SIZES = (1000, 2000, 5000, 10000, 20000, 50000)
NO_CONDITION = ("seed", "digest", "run", "name")  # settings that tell runs apart without making them different searches
# Two-sided 95 % quantiles of Student's t by degrees of freedom; above 30 the next lower entry is used, which is safe.
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
LOOKS = (("#0072b2", "o", "-"), ("#d55e00", "s", "--"), ("#009e73", "^", "-."), ("#cc79a7", "D", ":"))
MORE_LOOKS = (("#55555c", "v", "-"), ("#e69f00", "P", "--"), ("#56b4e9", "X", "-."), ("#1b1b1f", "*", ":"))


@dataclass(frozen=True)
class _Options:
    out: str = "compare.png"
    reference: str = ""
    on: Literal["validation", "test"] | None = None


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        name: Of its folder.
        seed: From its settings.
        condition: The settings that matter, as text; equal in all runs of a group.
        metric: Of its errors.
        members: (bytes, error) of the members that no other one beats on validation rows, smallest first.
    """

    name: str
    seed: int | None
    condition: str
    metric: str
    members: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class _Group:
    name: str
    runs: tuple[Run, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 for an error that it told on standard error."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE, end="")
        return 0 if arguments else 2
    try:
        options = build(_Options, from_arguments([a for a in arguments if _is_option(a)]))
        runs, rows = read_runs([a for a in arguments if not _is_option(a)], on=options.on)
        reference = _reference(options.reference, runs)
        _tell(runs, rows, reference)
        _draw(_groups(runs), rows).savefig(options.out, dpi=150, format="png")
    except (EngineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\npicture: {options.out}")
    return 0


def read_runs(folders: Sequence[str], *, on: str | None = None) -> tuple[list[Run], str]:
    """Read finished runs, with errors on the same kind of rows.

    Args:
        folders: At least two.
        on: `validation` or `test`; None takes test rows if all members of all runs have them.

    Returns:
        The runs, and which rows their errors come from.

    Raises:
        RecordError: If folders are missing or unfinished, all at once; or if their metrics differ.
        SettingsError: If there are fewer than two folders, or a folder is given twice.
    """
    if len({Path(folder).resolve() for folder in folders}) != len(folders) or len(folders) < 2:
        raise SettingsError(f"Give at least two run folders, none twice; got {', '.join(folders) or 'none'}.")
    cards, problems = {}, []
    for folder in folders:
        try:
            cards[folder] = read_cards(folder)
        except RecordError as error:
            problems.append(str(error))
    if problems:
        raise RecordError("\n".join(problems))
    tested = {folder: all(card.get("test") for card in its) for folder, its in cards.items()}
    rows = on or ("test" if all(tested.values()) else "validation")
    untested = [folder for folder, has in tested.items() if not has]
    if rows == "test" and untested:
        raise RecordError(f"on=test needs test errors of all members; without: {', '.join(untested)}.")
    runs = [_run(folder, cards[folder], rows) for folder in folders]
    metrics = sorted({run.metric for run in runs})
    if len(metrics) > 1:
        raise RecordError(f"The runs must have one metric to be compared, got {', '.join(metrics)}.")
    return runs, rows


def _run(folder: str, cards: Sequence[Card], rows: str) -> Run:
    settings = read_settings(folder)
    condition = {key: value for key, value in settings.items() if key not in NO_CONDITION}
    members: list[tuple[float, float]] = []
    best = math.inf
    for card in sorted(cards, key=lambda c: (c["bytes"], c["validation"]["error"])):
        if card["validation"]["error"] < best:  # chosen on validation rows, whichever rows are shown
            best = card["validation"]["error"]
            members.append((float(card["bytes"]), float(card[rows]["error"])))
    text = json.dumps(condition, sort_keys=True, default=str)
    return Run(Path(folder).name, settings.get("seed"), text, str(cards[0].get("metric", "accuracy")), tuple(members))


def error_at(run: Run, size: float) -> float | None:
    """Return the error of the member one would take at a size limit: chosen on validation rows; None if none fits."""
    fitting = [error for length, error in run.members if length <= size]
    return fitting[-1] if fitting else None


def dominated_area(run: Run, reference: tuple[float, float]) -> float:
    """Return the area between a run and a reference (error, bytes), in (error, log10 bytes); higher is better.

    On validation rows it is the hypervolume. On test rows each size counts with the member chosen on validation rows,
    so that luck on the test rows is not picked.
    """
    inside = [member for member in run.members if member[0] < reference[1]]
    ends = [*[length for length, _ in inside[1:]], reference[1]]
    return sum(
        max(0.0, reference[0] - error) * (math.log10(end) - math.log10(length))
        for (length, error), end in zip(inside, ends, strict=bool(inside))
    )


def coverage(first: Run, second: Run) -> float:
    """Return the share of the second run's members that a member of the first equals or beats on both axes."""
    beaten = [any(s <= size and e <= error for s, e in first.members) for size, error in second.members]
    return sum(beaten) / len(beaten)


def additive_epsilon(first: Run, second: Run, reference: float) -> float:
    """Return by how much the first run errs more, at worst, at the sizes of the second run's members.

    Source: after Zitzler et al. (2003), IEEE Transactions on Evolutionary Computation 7(2), the additive epsilon
    indicator; differs in that only errors are shifted, at equal size.
    """
    gaps = []
    for size, error in second.members:
        own = error_at(first, size)
        gaps.append((reference if own is None else own) - error)
    return max(gaps)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the 95 % t interval of at least two values."""
    mean = statistics.fmean(values)
    quantile = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    reach = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - reach, mean + reach


def _is_option(argument: str) -> bool:
    return argument.split("=", 1)[0] in ("out", "reference", "on") or ("=" in argument and not Path(argument).exists())


def _reference(text: str, runs: Sequence[Run]) -> tuple[float, float]:
    if not text:
        worst = max(error for run in runs for _, error in run.members)
        largest = max(size for run in runs for size, _ in run.members)
        return 1.1 * worst or 1.0, 1.1 * largest
    try:
        error, size = (float(part) for part in text.split(","))
    except ValueError:
        error, size = math.nan, math.nan
    if not (error > 0 and size > 0 and math.isfinite(error) and math.isfinite(size)):
        raise SettingsError(f"reference must be ERROR,BYTES, such as 0.9,100000, got '{text}'.")
    return error, size


def _groups(runs: Sequence[Run]) -> list[_Group]:
    """Gather runs that differ only in their seed; a group with a seed twice falls apart into its runs."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(run.condition, []).append(run)
    groups = []
    for members in together.values():
        if len({run.seed for run in members}) == len(members):
            groups.append(_Group(_group_name(members), tuple(members)))
        else:
            groups += [_Group(run.name, (run,)) for run in members]
    return groups


def _group_name(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].name
    shared = os.path.commonprefix([run.name for run in runs]).rstrip("-_. ")
    return f"{shared or runs[0].name} x {len(runs)} seeds"


def _tell(runs: Sequence[Run], rows: str, reference: tuple[float, float]) -> None:
    metric, groups = runs[0].metric, _groups(runs)
    unit = "%" if is_share(metric) else metric
    sizes = _common_sizes(runs)
    print(f"Errors on {rows} rows, in {unit}; members chosen on validation rows.")
    print(f"Reference point: {error_number(reference[0], metric)} {unit}, {reference[1]:,.0f} B.\n")
    print_table(_run_table(runs, sizes, reference))
    if any(len(group.runs) > 1 for group in groups):
        print("\nBy group: mean ± standard deviation (n).\n")
        print_table(_group_table(groups, sizes, reference))
    if len(groups) > 1:
        print("\nPairs; with seeds, the mean over pairs of equal seed.\n")
        print_table(_pair_table(groups, reference))
        _tell_differences(groups, sizes, reference)
    print("\n" + "\n".join(DEFINITIONS))


def _common_sizes(runs: Sequence[Run]) -> list[int]:
    """Return the sizes at which somebody has a file, up to the first that holds all files."""
    smallest = min(run.members[0][0] for run in runs)
    largest = max(run.members[-1][0] for run in runs)
    before = (0, *SIZES[:-1])
    return [size for size, last in zip(SIZES, before, strict=True) if smallest <= size and last < largest]


def _columns(*text: str, numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in text:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _run_table(runs: Sequence[Run], sizes: Sequence[int], reference: tuple[float, float]) -> Table:
    heads = ["n", "smallest", "area", "best", *[f"≤{size_label(size)}" for size in sizes]]
    table = _columns("run", numbers=heads)
    for run in runs:
        found = [run.members[-1][1], *[error_at(run, size) for size in sizes]]
        errors = [error_number(error, run.metric) for error in found]
        facts = [str(len(run.members)), f"{run.members[0][0]:,.0f}", f"{dominated_area(run, reference):.4f}"]
        table.add_row(run.name, *facts, *errors)
    return table


def _measures(sizes: Sequence[int], reference: tuple[float, float]) -> dict[str, Callable[[Run], float | None]]:
    """Return what groups are compared by; the errors come after the area."""
    made: dict[str, Callable[[Run], float | None]] = {"area": lambda run: dominated_area(run, reference)}
    made["best"] = lambda run: run.members[-1][1]
    for size in sizes:
        made[f"≤{size_label(size)}"] = lambda run, size=size: error_at(run, size)  # type: ignore[misc]
    return made


def _group_table(groups: Sequence[_Group], sizes: Sequence[int], reference: tuple[float, float]) -> Table:
    table = _columns("measure", numbers=[group.name for group in groups])
    for name, measure in _measures(sizes, reference).items():
        cells = []
        for group in groups:
            values = [value for run in group.runs if (value := measure(run)) is not None]
            cells.append(_spread(values, name, group.runs[0].metric))
        table.add_row(name, *cells)
    return table


def _spread(values: Sequence[float], name: str, metric: str) -> str:
    if not values:
        return "-"
    spread = statistics.stdev(values) if len(values) > 1 else None
    deviation = "" if spread is None else f" ± {_shown(spread, name, metric)}"
    return f"{_shown(statistics.fmean(values), name, metric)}{deviation} ({len(values)})"


def _shown(value: float, name: str, metric: str) -> str:
    return f"{value:.4f}" if name == "area" else error_number(value, metric)


def _pairs(first: _Group, second: _Group) -> list[tuple[Run, Run]]:
    """Return the pairs of equal seed; all pairs where there are none."""
    by_seed = {run.seed: run for run in second.runs}
    equal = [(run, by_seed[run.seed]) for run in first.runs if run.seed in by_seed]
    return equal or [(one, two) for one in first.runs for two in second.runs]


def _pair_table(groups: Sequence[_Group], reference: tuple[float, float]) -> Table:
    table = _columns("A", "B", numbers=["C(A,B)", "C(B,A)", "epsilon(A,B)", "epsilon(B,A)"])
    for place, first in enumerate(groups):
        for second in groups[place + 1 :]:
            pairs = _pairs(first, second)
            covers = [statistics.fmean(coverage(*pair) for pair in way) for way in _both_ways(pairs)]
            gaps = [
                statistics.fmean(additive_epsilon(*pair, reference[0]) for pair in way) for way in _both_ways(pairs)
            ]
            metric = first.runs[0].metric
            cells = [f"{share:.2f}" for share in covers] + [error_number(gap, metric) for gap in gaps]
            table.add_row(first.name, second.name, *cells)
    return table


def _both_ways(pairs: Sequence[tuple[Run, Run]]) -> tuple[list[tuple[Run, Run]], list[tuple[Run, Run]]]:
    return list(pairs), [(two, one) for one, two in pairs]


def _tell_differences(groups: Sequence[_Group], sizes: Sequence[int], reference: tuple[float, float]) -> None:
    measures = _measures(sizes, reference)
    table = _columns("A - B", "measure", numbers=["pairs", "mean", "95 % t interval"])
    for place, first in enumerate(groups):
        for second in groups[place + 1 :]:
            pairs = [(one, two) for one, two in _pairs(first, second) if one.seed == two.seed]
            for name, measure in measures.items():
                values = [(measure(one), measure(two)) for one, two in pairs]
                gaps = [one - two for one, two in values if one is not None and two is not None]
                if len(gaps) < 2:
                    continue
                told = [_shown(value, name, first.runs[0].metric) for value in mean_interval(gaps)]
                cells = (str(len(gaps)), told[0], f"{told[1]} to {told[2]}")
                table.add_row(f"{first.name} - {second.name}", name, *cells)
    if table.row_count:
        print("\nPaired differences at equal seeds.\n")
        print_table(table)


def _draw(groups: Sequence[_Group], rows: str) -> Figure:
    metric = groups[0].runs[0].metric
    scale = 100.0 if is_share(metric) else 1.0
    figure = Figure(figsize=(8.0, 5.2), facecolor=PAPER, layout="constrained")
    axes: Any = figure.add_subplot()
    looks = LOOKS + MORE_LOOKS
    for place, group in enumerate(groups):
        colour, marker, line = looks[place % len(looks)]
        for number, run in enumerate(group.runs):
            sizes, errors = [size for size, _ in run.members], [scale * error for _, error in run.members]
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "linewidth": 1.3}
            alpha = 0.9 if len(group.runs) == 1 else 0.55
            label = group.name if number == 0 else "_nolegend_"
            axes.plot(sizes, errors, drawstyle="steps-post", alpha=alpha, label=label, **look)
    style_axes(axes, metric)
    axes.set_ylabel(f"{axes.get_ylabel()}, {rows} rows", color=INK)
    members = [member for group in groups for run in group.runs for member in run.members]
    limit_axes(axes, [size for size, _ in members], [scale * error for _, error in members])
    figure.legend(loc="outside lower center", ncols=min(3, len(groups)), frameon=False, fontsize=9, labelcolor=INK)
    return figure


if __name__ == "__main__":
    sys.exit(main())
