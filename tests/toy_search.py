"""A whole search over toy files, as a command: `python tests/toy_search.py run=... fault=kill after=5`.

A fault strikes right after a trial was recorded, never by the clock: `kill` (signal 9), `terminate` (SIGTERM), `full`
(the record cannot grow any more, as on a full disk).
"""

import os
import resource
import signal
import sys
from dataclasses import replace

from toy import Toy, toy_data, toy_test

from engine.backends.settings import BackendSettings
from engine.command import main_guard
from engine.ending import ending
from engine.launch import search
from engine.load import Loaded
from engine.record import RunFolder
from engine.search_settings import Named, SearchSettings
from engine.winners import FinishSettings


def searched(run, family=None, **changes):
    settings = SearchSettings(
        backend=BackendSettings(name="serial"),
        sampler=Named("random"),
        budget=12,
        run=str(run),
        finish=FinishSettings(members=2),
        quiet=True,
    )
    loaded = Loaded(toy_data(), toy_test(), (), "toy")
    return search(
        replace(settings, **changes),
        lambda loaded: (replace(settings, **changes), family or Toy()),
        name="toy",
        loaded=loaded,
    )


def strike_after(count, strike):
    """Let a fault strike when so many trials have been recorded."""
    append = RunFolder.append

    def appended(folder, trial):
        append(folder, trial)
        if folder.trials_path.read_bytes().count(b"\n") == count:
            strike(folder)

    RunFolder.append = appended


def fill_disk(folder):
    limit = folder.trials_path.stat().st_size + 20  # in the middle of the next line
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


STRIKES = {
    "kill": lambda _folder: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda _folder: os.killpg(os.getpgid(0), signal.SIGTERM),
    "full": fill_disk,
}


def main(arguments):
    given = dict(argument.split("=", 1) for argument in arguments)
    if "fault" in given:
        strike_after(int(given["after"]), STRIKES[given["fault"]])
    backend = BackendSettings(name=given.get("backend", "serial"))
    return main_guard(
        lambda: ending(
            searched(given["run"], backend=backend, storage=given.get("storage"), workers=2), "toy.search", arguments
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
