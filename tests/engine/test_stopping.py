import signal
import sys
import threading
from multiprocessing.reduction import ForkingPickler

import pytest

from engine.deadline import Deadline
from engine.stopping import Terminated, exit_code, stoppable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nobody can send SIGTERM there")


def test_sigterm_ends_the_block_as_ctrl_c_does_and_all_is_as_before():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught, stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert isinstance(caught.value, Terminated)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_sigterm_does_not_disturb_what_is_written_after_the_first():
    with stoppable():
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_who_holds_ctrl_c_back_holds_it_back_too():
    with stoppable():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.raise_signal(signal.SIGTERM)  # nothing happens yet
        with pytest.raises(Terminated):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_where_ctrl_c_is_ignored_a_scheduler_is_heard_all_the_same():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(Terminated), stoppable():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_no_handler():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


def test_exit_codes_are_those_of_shells():
    assert (exit_code(KeyboardInterrupt()), exit_code(Terminated())) == (130, 143)


def test_a_deadline_goes_to_others_as_the_time_that_is_left(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    deadline = Deadline.after(60.0)
    now[0] += 20
    sent = ForkingPickler.dumps(deadline)
    now[0] = 5.0  # the clock of another machine
    arrived = ForkingPickler.loads(sent)
    assert arrived.left() == 40
    now[0] += 40
    assert arrived.is_over()
