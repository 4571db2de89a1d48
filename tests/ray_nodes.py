"""A Ray cluster of several nodes, each a set of processes of its own, and ways to hurt it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import numpy as np
from toy import toy_data

from engine.errors import BackendError
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.work import Build, Work
from experiments.napping import Napping


@contextmanager
def cluster(nodes=2, cpus=1):
    """Start a head without room for slots, and nodes with room for some; whatever was stopped is gone in the end."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    stopped: list[int] = []
    made.stopped = stopped
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=cpus)
        yield made
    finally:
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(AssertionError):  # of nodes that were killed before
            made.shutdown()


def processes_of(node):
    """Return the numbers of all processes of a node, those that its workers started included."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(tuple(map(int, line.split())) for line in listed.splitlines())
    found = {info.process.pid for kind in node.all_processes.values() for info in kind}
    while True:
        more = {process for process, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def kill(node):
    """Kill a node and all that runs on it, as a power cut does."""
    for process in processes_of(node):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def await_worker(node):
    """Wait until a worker process of a slot runs on a node."""
    for _ in range(1200):
        listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        workers = {int(line.split()[0]) for line in listed.splitlines() if "multiprocessing.spawn" in line}
        if workers & set(processes_of(node)):
            return
        time.sleep(0.1)
    raise AssertionError("no slot came up on the node")


def stop(made, node):
    """Make a node hang: it is there, and says nothing."""
    for process in processes_of(node):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
            made.stopped.append(process)


def node_of(made, process):
    """Return the node on which a process runs."""
    return next(node for node in made.worker_nodes if process in processes_of(node))


def living_workers(marks):
    """Return the numbers of worker processes that left a mark and are alive."""
    alive = []
    for path in sorted(marks.iterdir()):
        process = int(path.name.split("-")[0])
        with suppress(OSError):
            os.kill(process, 0)
            alive.append(process)
    return alive


def search(backend, place, *, seconds=0.05, budget=30, watch=None, up=2, seed=1):
    """Search with napping trials once `up` slots have run one; return the study, and the error that ended it."""
    place.mkdir(parents=True, exist_ok=True)
    marks = place / "marks"
    marks.mkdir(exist_ok=True)
    family = Napping(seconds, str(marks))
    data = toy_data().save(place / "data")
    problem = Problem(family.space, Objective("error"), Objective("bytes"), family.canonical, family.bytes, budget)
    folder = RunFolder(place / "run")
    _, recorded = folder.open({"lag": 4})
    study = Study(problem, RandomSampler(), backend, folder, seed, 4, recorded)
    if watch is not None:
        study.watch = lambda study, _trial: watch(study, marks)
    backend.start(Work(family, data.folder, "accuracy"))
    try:
        while len(living_workers(marks)) < min(up, backend.slots):
            for number in range(4):
                backend.submit(Build(-1 - number, family.space.sample(np.random.default_rng(number)), 0))
            for _ in range(4):
                backend.wait()
        study.run()
    except BackendError as error:
        return study, error
    finally:
        backend.close()
    return study, None


def outcome(study):
    return [(t.number, t.candidate, t.state, [(p.values["error"], p.sha256) for p in t.points]) for t in study.ended()]


def recorded(place):
    """Return the numbers on record, in order of the file."""
    path = place / "run" / "trials.jsonl"
    return [json.loads(line)["number"] for line in path.read_text().splitlines()] if path.exists() else []


def files(place, study):
    """Return the files of the front. Others are kept too: which of them depends on the order in which trials ended."""
    return {point.sha256: (place / "run" / "files" / f"{point.sha256}.onnx").read_bytes() for point in study.front}


def left_when_it_runs(task):
    """Take half a second, and return how much time the task has left then."""
    time.sleep(0.5)
    return task.deadline.left()
