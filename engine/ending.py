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
    """Print the front, where it lies, and the command that goes on; return the exit code."""
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
    rest = [argument for argument in arguments if not argument.startswith(("run=", "budget="))]
    budget = run.study.problem.budget if run.is_interrupted else 2 * run.study.problem.budget
    words = "Go on with" if run.is_interrupted else "Search on with"
    command = shlex.join(["python", "-m", module, *rest, f"run={run.folder}", f"budget={budget}"])
    lines.append(f"{words}: {command}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if run.stop is None else exit_code(run.stop)
