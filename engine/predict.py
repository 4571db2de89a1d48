"""Score new rows with a finished file.

    python -m engine.predict model=PATH data=new.csv out=scored.csv [id=column,...]

model  an ONNX file, or the folder that holds model.onnx and card.json
data   a table (.csv, .csv.gz, .parquet, .jsonl; columns are matched by name, others ignored), an npz file with x, an
       npy file, or a folder of images (or of class folders)
out    a csv or csv.gz file: the id columns (`file` for images), `label` and `p_<class>` for each class; `value` for
       regression. It is written whole or not at all. `label` is the most probable class, unless the model's card has a
       threshold or costs.
id     columns to keep
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from engine.artifact import Artifact
from engine.command import settings_command
from engine.errors import DataError
from engine.inputs import Inputs, read_inputs

__all__ = ["PredictSettings", "main", "predict"]


@final
@dataclass(frozen=True)
class PredictSettings:
    """What the command takes; the module's text describes each key."""

    model: str
    data: str
    out: str
    id: list[str] = field(default_factory=list)


def predict(settings: PredictSettings) -> int:
    """Score the rows, write them, and return their number.

    Raises:
        EngineError: If the model or the rows cannot be used, or `out` cannot be written.
    """
    out = Path(settings.out)
    if not out.name.lower().endswith((".csv", ".csv.gz")):
        raise DataError(f"out must end in .csv or .csv.gz, got {out}.")
    if not out.parent.is_dir():
        raise DataError(f"out must lie in a folder that exists, {out.parent} does not.")
    names = [name.strip() for entry in settings.id for name in entry.split(",")]
    artifact = Artifact.load(settings.model)
    inputs = read_inputs(artifact, Path(settings.data), ids=names)
    scored = score_table(artifact, inputs)
    _write(scored, out)
    return len(scored)


def score_table(artifact: Artifact, inputs: Inputs) -> pd.DataFrame:
    """Return the id columns and the predictions of each row.

    Raises:
        DataError: If an id column has the name of a column that is added.
    """
    outputs = artifact.outputs(inputs.arrays)
    if artifact.task == "regression":
        added = {"value": outputs[:, 0]}
    else:
        labels = np.asarray(artifact.classes)[artifact.decision.labels(outputs)]
        added = {"label": labels} | {f"p_{name}": outputs[:, n] for n, name in enumerate(artifact.classes)}
    taken = [name for name in inputs.ids.columns if name in added]
    if taken:
        raise DataError(f"id must not name {', '.join(taken)}: the result has such a column of its own.")
    return pd.concat([inputs.ids.reset_index(drop=True), pd.DataFrame(added)], axis=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 2 for anything wrong with what was given."""
    return settings_command(PredictSettings, _told, usage=__doc__ or "", arguments=arguments)


def _told(settings: PredictSettings) -> str:
    return f"{predict(settings)} rows scored: {settings.out}"


def _write(table: pd.DataFrame, out: Path) -> None:
    waiting = out.with_name(f".{out.name}.{os.getpid()}.part")
    compression = {"method": "gzip", "mtime": 0} if out.suffix.lower() == ".gz" else None
    try:
        table.to_csv(waiting, index=False, compression=compression)
        os.replace(waiting, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        waiting.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
