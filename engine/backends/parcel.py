"""The folder of a data set on its way to the nodes of a cluster: once through the object store, then on each disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["packed", "swept", "unpacked"]

SWEEP_SECONDS = 4.0


def packed(folder: Path) -> dict[str, Any]:
    """Put each file of a folder into the object store, once, and return the references by name."""
    import ray

    return {
        path.name: ray.put(np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.empty(0, np.uint8))
        for path in sorted(folder.iterdir())
    }


def unpacked(parcel: Mapping[str, Any], place: Path) -> Path:
    """Return the folder with the files of a parcel on this node; whoever comes first writes it.

    Files on disk and not in memory: worker processes map them, and share the pages.
    """
    import ray

    folder = place / "data"
    if folder.exists():
        return folder
    place.mkdir(parents=True, exist_ok=True)
    waiting = Path(tempfile.mkdtemp(dir=place))
    for name, reference in parcel.items():
        with (waiting / name).open("wb") as file:
            file.write(memoryview(ray.get(reference)))
    try:
        os.rename(waiting, folder)
    except OSError:  # another slot of this node was first
        shutil.rmtree(waiting, ignore_errors=True)
    return folder


def swept(place: Path) -> None:
    """Delete what slots wrote to the disks of all nodes that are alive."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remove = ray.remote(num_cpus=0)(_remove)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    done = [
        remove.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(str(place))
        for node in nodes
    ]
    ray.wait(done, num_returns=len(done), timeout=SWEEP_SECONDS)


def _remove(place: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
