"""The desk without Ray: who gets which task, and what becomes of it."""

import asyncio

import pytest

from engine.backends.desk import Desk, Ended, Task
from engine.errors import BackendError


def scenario(play, **options):
    """Run a coroutine function with a fresh desk."""

    async def played():
        return await asyncio.wait_for(play(Desk("1 CPU", **options)), 20)

    return asyncio.run(played())


async def submit(desk, count):
    for number in range(count):
        await desk.submit(Task(number, b"task"))


def test_the_oldest_task_goes_to_the_slot_that_has_waited_longest():
    async def play(desk):
        first, second = (asyncio.ensure_future(desk.ask(name)) for name in "ab")
        await asyncio.sleep(0)
        await submit(desk, 3)
        assert ((await first).number, (await second).number) == (0, 1)
        assert (await desk.ask("b", Ended(1, b"done"))).number == 2
        assert await desk.ended() == [Ended(1, b"done")]

    scenario(play)


def test_a_task_says_how_long_it_waited_for_its_slot(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("engine.backends.desk.time.monotonic", lambda: now[0])

    async def play(desk):
        await submit(desk, 2)
        now[0] = 107.0
        assert (await desk.ask("a")).waited_seconds == 7.0
        now[0] = 110.0
        assert (await desk.ask("b")).waited_seconds == 10.0

    scenario(play)


def test_a_lost_slot_loses_its_task_once_and_is_heard_no_more():
    async def play(desk):
        await submit(desk, 1)
        assert (await desk.ask("a")).number == 0
        desk.lose("a", "its node died")
        desk.lose("a", "its node died")
        assert await desk.ended() == [Ended(0, lost="its node died")]
        with pytest.raises(BackendError, match="Slot a was given up for lost"):
            await desk.ask("a", Ended(0, b"late"))
        await desk.submit(Task(0, b"task"))
        assert (await desk.ask("b")).number == 0
        asked = asyncio.ensure_future(desk.ask("b", Ended(0, b"in time")))
        assert await desk.ended() == [Ended(0, b"in time")]
        asked.cancel()

    scenario(play)


def test_a_slot_lost_while_it_waits_takes_no_task_with_it():
    async def play(desk):
        asked = asyncio.ensure_future(desk.ask("a"))
        await asyncio.sleep(0)
        desk.lose("a", "its node died")
        await submit(desk, 1)
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await desk.ask("b")).number == 0

    scenario(play)


def test_slots_that_never_come_up_end_the_wait():
    async def play(desk):
        for number in range(3):
            desk.lose(f"slot {number}", "No module named 'engine'")
        with pytest.raises(BackendError, match="3 slots in a row ended while starting, the last one: No module named"):
            await desk.ended()

    scenario(play)


def test_a_slot_that_comes_up_forgives_failed_starts():
    async def play(desk):
        desk.lose("a", "lost")
        desk.lose("b", "lost")
        await submit(desk, 1)
        await desk.ask("c")
        desk.lose("d", "lost")
        desk.lose("e", "lost")
        desk.lose("f", "lost")  # one slot is up all the time
        desk.lose("c", "its node died")
        assert await desk.ended() == [Ended(0, lost="its node died")]

    scenario(play)


def test_a_cluster_without_room_is_told():
    async def play(desk):
        with pytest.raises(BackendError, match=r"No slot was up for 0 s\. A slot needs 1 CPU on one node\."):
            await desk.ended()

    scenario(play, patience_seconds=0.0)
