"""A whole search with `min_bytes`: trials go to the sizes above, and one file below is shipped at most."""

import json

from engine.backends.settings import BackendSettings
from engine.winners import FinishSettings
from nas import search
from nas.cells import CellsSettings
from nas.settings import Settings, TrainSettings

MIN_BYTES = 1500


def finished(folder, **given):
    return search.run(
        Settings(
            budget=16,
            train=TrainSettings(steps=15, epochs=0.1),
            space=CellsSettings(stages=2, widths=(4, 8, 16, 32)),
            backend=BackendSettings("serial"),
            finish=FinishSettings(members=1, refit=False, teachers=0),
            run=str(folder),
            quiet=True,
            **given,
        )
    )


def test_one_file_below_is_shipped_at_most(tmp_path):
    run = finished(tmp_path / "run", min_bytes=MIN_BYTES)
    shipped = [json.loads(path.read_text())["bytes"] for path in (run.folder / "front").glob("*/card.json")]
    assert sum(size <= MIN_BYTES for size in shipped) <= 1
    assert max(shipped) > MIN_BYTES
    assert sorted(shipped) == sorted(point.values["bytes"] for point in run.front)
    own = {trial.points[0].values["bytes"] for trial in run.study.trials.values() if trial.points}
    assert sum(size < MIN_BYTES for size in own) >= 2, "the front had some to choose from"
