import json
import subprocess
import sys

import numpy as np
import pytest

from compression.nets.layers import empty_weights, lower
from compression.nets.train import Recipe
from engine.artifact import Artifact
from engine.data import Rows, Signature
from engine.errors import SettingsError
from experiments.bench_cifar import Settings, network_plan, run, trained
from experiments.long_training import Epoch

SIGNATURE = Signature("images", "classification", (3, 8, 8), "uint8", ("left", "right"))
RECIPE = Recipe(epochs=4, batch_rows=16, learning_rate=0.01, shift=1, quantize_at=0.5)


def images(count, seed):
    """Images whose left or right half is brighter."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = rng.integers(0, 120, (count, 3, 8, 8))
    x[y == 0, :, :, :4] += 100
    x[y == 1, :, :, 4:] += 100
    return x.astype(np.uint8), y.astype(np.int64)


def rows(count, seed):
    x, y = images(count, seed)
    return Rows(y, x)


def settings_for(folder, **changed):
    return Settings("", str(folder), widths=[4, 6], depths=[0, 1], train=RECIPE, **changed)


def begun(folder, **changed):
    return trained(settings_for(folder, **changed), SIGNATURE, rows(96, 0), rows(40, 1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_in_pieces_ends_with_the_same_file_byte_for_byte(tmp_path, precision):
    *whole, artifact = begun(tmp_path / "whole", precision=precision)
    assert [epoch.number for epoch in whole] == [1, 2, 3, 4]
    assert [epoch.is_quantized for epoch in whole] == [False, False, True, True]
    assert whole[-1].loss < whole[0].loss
    assert artifact.card["validation"]["error"] < 0.2
    told = []
    for pieces in (1, 2):  # cut before the weights are on their grid, and after
        piece = begun(tmp_path / "pieces", precision=precision)
        told += [next(piece) for _ in range(pieces)]
        piece.close()
    *rest, again = begun(tmp_path / "pieces", precision=precision)
    told += rest
    assert [(e.number, e.loss, e.error) for e in told] == [(e.number, e.loss, e.error) for e in whole]
    assert all(isinstance(epoch, Epoch) for epoch in told)
    assert again.model == artifact.model


def test_a_state_of_other_settings_is_refused(tmp_path):
    next(begun(tmp_path))
    with pytest.raises(SettingsError, match="other settings: seed"):
        next(begun(tmp_path, seed=1))


def test_stages_and_depths_must_fit():
    with pytest.raises(SettingsError, match="same stages"):
        Settings("", "", widths=[4], depths=[1, 1])


def test_the_default_network_fits_with_room_for_no_surprise():
    cifar = Signature("images", "classification", (3, 32, 32), "uint8", tuple("abcdefghij"))
    plan = network_plan(Settings("", ""), cifar)
    assert len(lower(plan, empty_weights(plan)).model) < 23_500


def test_the_command_trains_scores_the_test_rows_once_and_shows_what_came_of_it(tmp_path, capsys):
    arrays = dict(zip(("x_train", "y_train"), images(120, 0), strict=True))
    arrays |= dict(zip(("x_test", "y_test"), images(40, 2), strict=True))
    np.savez(tmp_path / "rows.npz", **arrays)
    settings = Settings(str(tmp_path / "rows.npz"), str(tmp_path / "out"), widths=[4, 6], depths=[0, 1], train=RECIPE)
    run(settings)
    log = (tmp_path / "out" / "log.txt").read_text().splitlines()
    assert len(log) == 5
    assert "epoch 4/4" in log[-1]
    assert "(quantized)" in log[-1]
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    x, y = images(40, 2)
    wrong = float((Artifact.load(tmp_path / "out").outputs({"x": x}).argmax(1) != y).mean())
    assert card["test"] == {"error": wrong, "rows": 40}
    written = (tmp_path / "out" / "model.onnx").stat().st_mtime_ns
    shown = capsys.readouterr().out.splitlines()[-1]
    run(settings)
    assert capsys.readouterr().out.splitlines() == [shown]
    assert (tmp_path / "out" / "model.onnx").stat().st_mtime_ns == written


@pytest.mark.slow
def test_sigterm_puts_a_training_aside_and_the_same_command_goes_on(tmp_path):
    arrays = dict(zip(("x_train", "y_train"), images(1200, 0), strict=True))
    arrays |= dict(zip(("x_test", "y_test"), images(40, 2), strict=True))
    np.savez(tmp_path / "rows.npz", **arrays)
    command = [sys.executable, "-m", "experiments.bench_cifar", f"data={tmp_path / 'rows.npz'}", "widths=[4,6]",
               "depths=[0,1]", "train.epochs=10", "train.batch_rows=16"]  # fmt: skip
    with subprocess.Popen([*command, f"out={tmp_path / 'cut'}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "epoch 2/" not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        process.communicate()
    assert process.returncode == 143
    assert not (tmp_path / "cut" / "model.onnx").exists()
    for out in ("cut", "whole"):
        subprocess.run([*command, f"out={tmp_path / out}"], check=True)
    assert (tmp_path / "cut" / "model.onnx").read_bytes() == (tmp_path / "whole" / "model.onnx").read_bytes()
    before, after = (tmp_path / "cut" / "log.txt").read_text().split("stopped: ")
    assert "epoch 2/" in before
    assert "epoch 1/" not in after
