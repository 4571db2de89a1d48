"""What a user may say about the backend, and which of it goes together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from engine.errors import SettingsError

__all__ = ["BackendSettings"]

RAY_ALONE = ("address", "cpus", "gpus", "data")  # senseless for backends on this machine


@final
@dataclass(frozen=True)
class BackendSettings:
    """Where trials run.

    Args:
        name: `processes`, `serial` or `ray`.
        address: Of a Ray cluster: `auto` (the one this machine belongs to), HOST:PORT, or `ray://HOST:PORT`; without
            one, Ray is started on this machine for the run.
        cpus: Cores that a slot reserves in Ray.
        gpus: Share of a GPU that a slot reserves in Ray: 0.25 puts four trials on one.
        data: How rows reach the nodes of a Ray cluster: `store`, once a node through Ray's object store, or `path`,
            read from the run folder, which all nodes must see under the same path.

    Raises:
        SettingsError: For every value out of range, and for keys that only Ray understands beside another name.
    """

    name: str = "processes"
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    data: Literal["store", "path"] = "store"

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.cpus < math.inf:
            problems.append(f"backend.cpus must be above 0, got {self.cpus}.")
        if not 0 <= self.gpus < math.inf or (self.gpus > 1 and self.gpus != int(self.gpus)):
            problems.append(f"backend.gpus must be in [0, 1] or a whole number, got {self.gpus}.")
        if self.name != "ray":
            plain = BackendSettings(name="ray")
            problems += [
                f"backend.{key} needs backend=ray, got backend={self.name}."
                for key in RAY_ALONE
                if getattr(self, key) != getattr(plain, key)
            ]
        if problems:
            raise SettingsError("\n".join(problems))
