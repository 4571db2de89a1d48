import dataclasses
import io

import pytest

from engine.front import Front
from engine.progress import Progress, Status, duration_text, is_terminal
from engine.space import Candidate
from engine.trial import Point

POINTS = [Point(Candidate.of({"w": w}), {"error": 0.2 / w, "bytes": 1000 * w}) for w in (1, 2, 4)]
START = Status("search", 100, 0, 0, 0, 0, 0, 0, Front(()), 0.0, 0.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def at(paid, **changes):
    return dataclasses.replace(START, paid=paid, complete=paid, front=Front.of(POINTS), hypervolume=1.5, **changes)


def lines(*statuses):
    stream = io.StringIO()
    with Progress(stream) as progress:
        for status in statuses:
            progress.update(status)
    return stream.getvalue().splitlines()


def test_plain_lines_come_every_five_percent():
    written = lines(*[at(paid) for paid in range(101)])
    assert len(written) == 21
    assert written[1].startswith("search 5/100 | 0 failed | 0 cached | front 3 | hypervolume 1.500 | best 5.00 %")


def test_plain_lines_come_after_ten_seconds_if_something_changed():
    written = lines(at(0), at(1, seconds=4.0), at(2, seconds=10.5), at(2, seconds=99.0))
    assert [line.split(" |")[0] for line in written] == ["search 0/100", "search 2/100", "search 2/100"]


def test_the_final_status_is_always_written():
    assert lines(at(0), at(1), at(2))[-1].startswith("search 2/100")


def test_finishing_has_lines_of_its_own():
    written = lines(at(100), *[at(100, phase="finish", finished=n, to_finish=2) for n in range(3)])
    assert [line.split(" |")[0] for line in written[1:]] == ["finish 0/2", "finish 1/2", "finish 2/2"]


def test_a_study_without_budget_counts_trials():
    assert lines(at(3, budget=None, seconds_left=75.0))[0].endswith("0:00 elapsed, about 1:15 left")


def test_an_empty_front_is_no_crash():
    assert "front empty" in lines(START)[0]


def test_plain_lines_are_ascii():
    assert "".join(lines(at(1, oversized=3))).isascii()


def test_quiet_writes_nothing():
    stream = io.StringIO()
    with Progress(stream, quiet=True) as progress:
        progress.note("hello")
        progress.update(at(1))
    assert stream.getvalue() == ""


def test_notes_are_plain_lines_and_no_markup():
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.note("trial 3 failed: [bold]x")
    assert stream.getvalue() == "trial 3 failed: [bold]x\n"


def test_a_terminal_gets_a_live_display(terminal):
    with Progress(terminal) as progress:
        progress.update(at(57, failed=3, cached=12, seconds_left=112.0, last_error="Trace\nValueError: [red] nan"))
        progress.note("a note [with] brackets")
    written = terminal.getvalue()
    for part in ("57/100 trials", "3 failed · 12 cached", "knee", "1:52 left", "ValueError: [red] nan", "[with]"):
        assert part in written


def test_a_terminal_shows_a_second_bar_while_finishing(terminal):
    with Progress(terminal) as progress:
        progress.update(at(100, phase="finish", finished=1, to_finish=8))
    assert "1/8 members" in terminal.getvalue()


def test_an_exception_inside_ends_the_display(terminal):
    with pytest.raises(RuntimeError, match="stop"), Progress(terminal):
        raise RuntimeError("stop")
    assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"TERM": "dumb"}, False), ({"CI": "true"}, False), ({"CI": "false"}, True)],
)
def test_who_gets_a_live_display(environment, expected):
    assert is_terminal(Terminal(), environment) is expected
    assert not is_terminal(io.StringIO(), environment)


def test_durations():
    assert [duration_text(s) for s in (0.4, 59.6, 3600)] == ["0:00", "1:00", "1:00:00"]
