"""The process in which a run meets its Ray cluster, apart from the driver: Ray prints, forks and aborts there alone."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

from engine.backends.desk import DESK, Desk, Ended, Order, Task
from engine.backends.parcel import packed, swept
from engine.backends.settings import BackendSettings

__all__ = ["UP", "Errand", "run_agent"]

UP = "up"
STORE_BYTES = 200 * 2**20  # of a Ray of our own: only tasks and results pass through it
CONNECT_SECONDS = 10.0
QUESTIONS_A_SLOT = 4  # under way at the desk, more than there ever are


@final
@dataclass(frozen=True)
class Errand:
    """What the agent is sent out with.

    Args:
        settings: Of the backend.
        slots: To keep up.
        work: The pickled function that runs tasks.
        folder: That the work reads, if slots shall have copies.
        place: Folder of the run on this machine, and under the same name on each node.
        log: File for all that Ray prints.
        memory_bytes: Of each worker process; None for as much as there is.
    """

    settings: BackendSettings
    slots: int
    work: bytes
    folder: Path | None
    place: Path
    log: Path
    memory_bytes: int | None = None


@final
class Host:
    """The desk as an actor, with the thread that keeps the slots beside it."""

    def __init__(self, order: Order, settings: BackendSettings, slots: int) -> None:
        self._order, self._settings, self._slots = order, settings, slots
        self._desk = Desk(wanted(settings))

    async def open(self) -> None:
        """Start the slots."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._keep, args=(loop,), daemon=True).start()

    async def order(self) -> Order:
        """Return what every slot must know."""
        return self._order

    async def submit(self, task: Task) -> None:
        """Queue a task."""
        await self._desk.submit(task)

    async def ask(self, slot: str, ended: Ended | None) -> Task:
        """Hand in the last task of a slot and wait for its next one."""
        return await self._desk.ask(slot, ended)

    async def ended(self) -> list[Ended]:
        """Wait until tasks have ended, and return how."""
        return await self._desk.ended()

    def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        from engine.backends.slots import keep_slots

        def lose(slot: str, reason: str) -> None:
            loop.call_soon_threadsafe(self._desk.lose, slot, reason)

        try:
            keep_slots(
                self._slots,
                cpus=self._settings.cpus,
                gpus=self._settings.gpus,
                place=str(Path(self._order.place) / "tune"),
                lose=lose,
            )
            reason = "Ray Tune ended by itself."
        except Exception as error:
            reason = f"Ray Tune ended with {type(error).__name__}: {error}"
        loop.call_soon_threadsafe(self._desk.fail, reason)


@final
class _Tasks:
    """Takes in what the driver sends, from the first moment on: it may be gone before the cluster answers."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._desk: Any = None
        self._has_desk = threading.Event()
        self.is_over = False

    def send_to(self, desk: Any) -> None:
        """Say where tasks go."""
        self._desk = desk
        self._has_desk.set()

    def take_in(self) -> None:
        """Pass tasks on until the driver is gone or says that it is over; then nothing shall wait any longer."""
        import ray

        try:
            while True:
                task = self._pipe.recv()
                self._has_desk.wait()
                self._desk.submit.remote(task)
        except (EOFError, OSError):
            self.is_over = True
            if self._desk is None:
                os._exit(1)
            ray.kill(self._desk)


def wanted(settings: BackendSettings) -> str:
    """Return what a slot reserves, in words.

    Example:
        >>> wanted(BackendSettings(name="ray", gpus=0.5))
        '1 CPU and 0.5 GPU'
    """
    return f"{settings.cpus:g} CPU" + (f" and {settings.gpus:g} GPU" if settings.gpus else "")


def run_agent(pipe: Connection, errand: Errand) -> None:
    """Connect, keep a desk with slots, and pass tasks and results on, until the driver is gone or says so.

    The driver sends tasks; it is sent UP once, then lists of `Ended`, or a text that says why nothing goes on.
    """
    _apart(errand.log)
    if errand.settings.address is None:
        _keep_private()
    import ray
    from ray.exceptions import RayActorError

    tasks, is_lost = _Tasks(pipe), False
    threading.Thread(target=tasks.take_in, daemon=True).start()
    try:
        _connect(errand)
        desk = _desk(errand)
        tasks.send_to(desk)
        pipe.send(UP)
        while True:
            pipe.send(ray.get(desk.ended.remote()))
    except Exception as error:
        if not tasks.is_over:
            is_lost = isinstance(error, RayActorError)
            _send_last(pipe, _told(error, is_lost=is_lost))
    finally:
        if ray.is_initialized():
            if errand.settings.address is not None and not is_lost:
                swept(errand.place)
            ray.shutdown()


def _apart(log: Path) -> None:
    """Leave the terminal: its Ctrl-C goes to the driver alone, and all output, Ray's own processes' too, to a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _keep_private() -> None:
    """Let a Ray of our own report to nobody and answer to nobody else; it reads that when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _connect(errand: Errand) -> None:
    import ray

    settings = errand.settings
    _check_address(settings.address or "")
    common = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": errand.place.name}
    if settings.address is not None:
        ray.init(settings.address, **common)
        return
    ray.init(
        "local",
        num_cpus=math.ceil(errand.slots * settings.cpus),
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        _temp_dir=str(errand.place / "ray"),
        **common,
    )
    found = ray.cluster_resources().get("GPU", 0)
    if settings.gpus > found:
        raise ValueError(f"A slot needs {wanted(settings)}; Ray finds {found:g} GPU on this machine.")


def _check_address(address: str) -> None:
    """Raise unless something answers: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(f"Nothing answers there ({error.strerror or error})") from error


def _desk(errand: Errand) -> Any:
    """Start the desk on the node that the agent is connected to: the two live and die together."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    parcel = packed(errand.folder) if errand.folder is not None else None
    order = Order(errand.work, str(errand.place), parcel, tuple(path for path in sys.path if path), errand.memory_bytes)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Host).options(
        name=DESK, num_cpus=0, max_concurrency=QUESTIONS_A_SLOT * errand.slots + 100, scheduling_strategy=here
    )
    desk = actor.remote(order, errand.settings, errand.slots)
    ray.get(desk.open.remote())
    return desk


def _told(error: Exception, *, is_lost: bool) -> str:
    """Return what an error says: of Ray's, which repeat a remote traceback first, the cause or the last line."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return str(cause)
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return f"the cluster, or the connection to it, was lost: {last}" if is_lost else last


def _send_last(pipe: Connection, text: str) -> None:
    try:
        pipe.send(text)
    except OSError:
        return
