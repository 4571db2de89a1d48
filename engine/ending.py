"""The last words of a search."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from engine.launch import Run
from engine.stopping import exit_code
from engine.tables import error_text, front_table, print_table, size_text

__all__ = ["ending"]


def ending(run: Run, module: str, arguments: Sequence[str]) -> int:
    """Print the front, where it lies, and the command that goes on; return the exit code: 1 where no file came out."""
    cards = [dict(member.artifact.card) for member in run.members]
    if cards:
        print_table(front_table(cards))
    counts = ", ".join(f"{count} {state.value}" for state, count in sorted(run.study.counts.items()))
    lines = [f"Trials: {counts or 'none'}.", *(note for note in run.notes if note.startswith("The search ended"))]
    if cards:
        knee = run.front.knee()
        number = [member.point for member in run.members].index(knee)
        error = error_text(knee.values["error"], str(cards[0]["metric"]))
        lines.append(f"Knee: member {number:02d}, {error} error in {size_text(cards[number])}.")
        lines.append(f"Files: {run.folder / 'front'}   Report: {run.folder / 'report.html'}")
    elif not run.is_interrupted:
        lines += _unmet(run) or ["No file came out of it."]
    rest = [argument for argument in arguments if not argument.startswith(("run=", "budget="))]
    budget = run.study.problem.budget if run.is_interrupted else 2 * run.study.problem.budget
    words = "Go on with" if run.is_interrupted else "Search on with"
    command = shlex.join(["python", "-m", module, *rest, f"run={run.folder}", f"budget={budget}"])
    lines.append(f"{words}: {command}")
    sys.stdout.write("\n".join(lines) + "\n")
    if run.stop is not None:
        return exit_code(run.stop)
    return 0 if cards else 1


def _unmet(run: Run) -> list[str]:
    """Return what would have to be allowed for a front of one member at least, a line for each limit."""
    problem = run.study.problem
    points = [point for trial in run.study.known() for point in trial.points]
    lines = []
    for objective in (problem.cost, *(objective for objective, _ in problem.limits)):
        values = [point.values[objective.name] for point in points if objective.name in point.values]
        if values and objective.limit is not None and not objective.allows(min(values)):
            unit = objective.unit or objective.name
            lines.append(
                f"No file has at most {objective.limit:,.0f} {unit}: the smallest of the {len(values)} that were tried "
                f"has {min(values):,.0f}. Allow as many, or search on."
            )
    return lines
