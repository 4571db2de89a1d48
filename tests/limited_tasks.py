"""What workers with limits are given to do: tasks that hang, tasks that ask for memory."""

import threading

import numpy as np
from toy import Toy

HANG = "hang"


def hangs_if_told(task):
    if task == HANG:
        threading.Event().wait()
    return task


def takes(gigabytes):
    try:
        return len(np.ones(int(gigabytes * 2**27)))
    except MemoryError:
        return "MemoryError"


class Greedy:
    """Toy files; odd sizes ask for two gigabytes first."""

    def __init__(self):
        self.toy = Toy()

    def __getattr__(self, name):
        if name == "toy":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.toy, name)

    def build(self, candidate, data, **rest):
        if candidate["size"] % 2:
            np.ones(2**28)
        return self.toy.build(candidate, data, **rest)
