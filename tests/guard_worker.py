"""Handles many model files as the guard's child process handles one; what kills it would have killed that child.

Files come on standard input, each after its length in four bytes; for each a line of JSON goes to standard output.
"""

import json
import os
import struct
import sys
import time
from pathlib import Path

import numpy as np

from engine import probe
from engine.artifact import Artifact, session
from engine.errors import ArtifactError
from engine.guard import checked_model

MEMORY = 3 * 2**30  # of address space, so that a file that takes too much fails here and not the machine
BATCHES = (1, 3, 64)


def handled(content):
    """Return what becomes of a file, and the text that its reader sees."""
    try:
        checked_model(content)
    except ArtifactError as error:
        return "refused", str(error)
    problem = probe._opening_problem(session, content)
    if problem is not None:
        return "not opened", problem
    opened = session(content)
    rng = np.random.default_rng(0)
    for rows in BATCHES if sum(probe._zeros(entry).size for entry in opened.get_inputs()) < 10_000 else BATCHES[:1]:
        inputs = {
            entry.name: rows_of(rng, probe._zeros(entry), 1 if isinstance(entry.shape[0], int) else rows)
            for entry in opened.get_inputs()
            if entry.shape
        }
        try:
            Artifact(content).outputs(inputs)
        except ArtifactError as error:
            return "not run", str(error)
    return "run", ""


def rows_of(rng, zeros, count):
    """Return rows of random values as large as `zeros`, of its type."""
    return rng.normal(0, 100, (count, *zeros.shape[1:])).astype(zeros.dtype)


def resident():
    """Return the resident memory of this process, in bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def main():
    """Serve until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError):
        pass
    while head := sys.stdin.buffer.read(4):
        content = sys.stdin.buffer.read(*struct.unpack("<I", head))
        start = time.perf_counter()
        try:
            state, text = handled(content)
        except MemoryError:
            state, text = "no memory", ""
        except Exception as error:
            state, text = "escaped", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        replies.write(json.dumps({"state": state, "text": text, "seconds": seconds, "bytes": resident()}) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
