"""The first look at a file from outside: in a process of its own, with limits on memory and time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from engine.errors import ArtifactError
from engine.extents import FREE_SIZE
from engine.guard import checked_model

__all__ = ["admit", "vouch"]

MEMORY_BYTES = 2**30  # beyond what the interpreter takes
DECODED_BYTES = 16  # more, for each byte of the file: decoded weights, and the copy that ONNX Runtime packs
CPU_SECONDS = 20
WALL_SECONDS = 120  # most of it for machines that do much else

# The package is found where it was found here, whatever the current folder holds.
CHILD = "import sys; sys.path.insert(0, sys.argv[1]); import engine; del sys.path[0]; from engine.probe import _main; "
CHILD += "_main(sys.argv[2])"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
NO_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate", "AllocateRawInternal", "not enough memory")
DTYPES = {"float": "f4", "double": "f8", "float16": "f2", "bool": "?", "string": "O"}

_admitted: set[str] = set()


def admit(content: bytes, *, name: str) -> None:
    """Refuse a model file that must not be opened here.

    A file that this process has neither written nor seen is checked, opened and run on one row of zeros in another
    process: ONNX Runtime is native code, and may crash, hang or take the memory. Once for each file; about 0.3 s.

    Args:
        content: The file.
        name: What to call it in messages.

    Raises:
        ArtifactError: With what is wrong, or the limit that was hit.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest in _admitted:
        checked_model(content, name=name)
        return
    problem = _tried(content, name)
    if problem is not None:
        raise ArtifactError(problem)
    _admitted.add(digest)


def vouch(content: bytes) -> None:
    """Remember a file that this process made itself: it need not be tried."""
    _admitted.add(hashlib.sha256(content).hexdigest())


def _tried(content: bytes, name: str) -> str | None:
    """Return what another process found wrong with a file, or how it ended."""
    command = [sys.executable, "-P", "-c", CHILD, str(Path(__file__).parents[1]), name]
    try:
        ended = subprocess.run(
            command,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            timeout=WALL_SECONDS,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        return f"{name} is refused: opening it and running one row took more than {WALL_SECONDS} s."
    except OSError as error:
        return f"{name} cannot be tried in a process of its own: {error.strerror}. Start one, or free some memory."
    try:
        found = json.loads(ended.stdout)
    except ValueError:
        return f"{name} is refused: {_ending(ended.returncode)}."
    return str(found["problem"]) if found["problem"] is not None else None


def _ending(code: int) -> str:
    """Tell how a process ended that did not report."""
    if code == -getattr(signal, "SIGXCPU", 0):
        return f"opening it and running one row took more than {CPU_SECONDS} s of processor time"
    with contextlib.suppress(ValueError):
        if code < 0:
            return f"it crashes ONNX Runtime ({signal.Signals(-code).name}), or needs more memory than a file may take"
    return f"the process that opened it ended with code {code}"


def _main(name: str) -> None:
    """Check, open and run the file on standard input; report on standard output, a line of JSON. In the child."""
    from engine.artifact import session  # here, since it needs this module

    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the report has the pipe for itself
    content = sys.stdin.buffer.read()
    memory = MEMORY_BYTES + DECODED_BYTES * len(content)
    _limit(memory)
    try:
        checked_model(content, name=name)
        problem = _opening_problem(session, content)
    except ArtifactError as error:
        report.write(json.dumps({"problem": str(error)}))
    except MemoryError:
        report.write(json.dumps({"problem": f"{name} is refused: {_too_large(memory)}."}))
    else:
        if problem is not None:
            problem = _too_large(memory) if any(sign in problem for sign in NO_MEMORY) else problem
            problem = f"{name} is refused: {problem}"
        report.write(json.dumps({"problem": problem}))
    report.close()


def _opening_problem(session: Callable[[bytes], onnxruntime.InferenceSession], content: bytes) -> str | None:
    """Open a file and run one row of zeros; that a model does not take zeros is no problem, lack of memory is."""
    try:
        opened = session(content)
    except ArtifactError as error:
        return str(error)
    try:
        zeros = {entry.name: _zeros(entry) for entry in opened.get_inputs()}
    except (TypeError, ValueError) as error:
        return f"no rows can be made for its inputs: {error}"
    try:
        opened.run(None, zeros)
    except Exception as error:  # its exception types share no public root
        return str(error) if any(sign in str(error) for sign in NO_MEMORY) else None
    return None


def _zeros(entry: onnxruntime.NodeArg) -> np.ndarray:
    shape = [size if isinstance(size, int) and size >= 0 else FREE_SIZE for size in entry.shape]
    if entry.shape and not isinstance(entry.shape[0], int):
        shape[0] = 1
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    array = np.zeros(shape, DTYPES.get(kind, kind))
    return np.full(shape, "", object) if kind == "string" else array


def _too_large(memory: int) -> str:
    return f"opening it and running one row takes more than {memory // 2**20} MiB of memory"


def _limit(memory: int) -> None:
    """Limit this process, where the system can: further memory, processor time, no files written, no core dump."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's clock remains
        return
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        taken = 2**30
    for kind, soft, hard in (
        (resource.RLIMIT_AS, taken + memory, taken + memory),
        (resource.RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS + 5),  # the soft one says by its signal what it was
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already, or the system has none
            resource.setrlimit(kind, (soft, hard))
