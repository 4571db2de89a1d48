"""Changed files: an error or a working session, never a crash past the guard, a hang or a leak."""

import collections
import json
import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from model_mutations import hostile_models, mutated, sound_models

from engine import probe
from engine.errors import ArtifactError

WORKER = Path(__file__).parents[1] / "guard_worker.py"
SECONDS = 30  # for one file, on a busy machine; the worst seen is a tenth of it
LEAK_BYTES = 300 * 2**20
STATES = {"refused", "not opened", "not run", "run"}


class Worker:
    """Gives files to a process that is replaced when it dies."""

    def __init__(self):
        self.deaths = []
        self._process = None

    def handle(self, content):
        """Return what became of a file, or None if the process died of it or hung."""
        if self._process is None:
            env = {**os.environ, **probe.ONE_THREAD}
            self._process = subprocess.Popen([sys.executable, str(WORKER)], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)  # fmt: skip
        timer = threading.Timer(SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(struct.pack("<I", len(content)) + content)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        self.deaths.append(content)
        self.close()
        return None

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


def fuzz(worker, count, seed):
    """Handle files; return how many ended in each state."""
    rng = random.Random(seed)
    sound, hostile = sound_models(), list(hostile_models().values())
    states, first, last = collections.Counter(), 0, 0
    for _ in range(count):
        found = worker.handle(mutated(rng, sound if rng.random() < 0.85 else hostile))
        if found is None:
            first = 0  # another process
            continue
        assert found["state"] in STATES, found
        assert found["text"] or found["state"] == "run"
        states[found["state"]] += 1
        first, last = first or found["bytes"], found["bytes"]
        assert last - first < LEAK_BYTES
    return states


def check_deaths(worker):
    """What killed the worker is an error for whoever reads such a file."""
    for content in worker.deaths:
        with pytest.raises(ArtifactError, match=r"fuzzed is refused"):
            probe.admit(content, name="fuzzed")


def test_sound_files_run_and_hostile_ones_are_refused(worker):
    assert {worker.handle(content)["state"] for content in sound_models()} == {"run"}
    assert {worker.handle(content)["state"] for content in hostile_models().values()} == {"refused"}


def test_some_hundred_changed_files(worker):
    states = fuzz(worker, 400, seed=0)
    assert states["run"] > 20
    assert states["refused"] > 100
    check_deaths(worker)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_changed_files(worker):
    states = fuzz(worker, 10_000, seed=1)
    assert sum(states.values()) + len(worker.deaths) == 10_000
    assert len(worker.deaths) <= 2, "tighten engine/guard.py: each costs a reader two seconds"
    check_deaths(worker)
