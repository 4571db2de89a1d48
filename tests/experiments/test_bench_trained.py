import json
from dataclasses import asdict

import numpy as np
import onnxruntime
import pytest
import torch

from engine.errors import SettingsError
from experiments.bench_trained import Cell, File, Settings, chosen, over_seeds, read_cells
from experiments.trained_nets import NETS, export, fit, module_of, read_state, write_state


def file(name, size, valid_error, test_error=0.5):
    return File(name, f"{name}.onnx", size, size, valid_error, test_error)


def test_the_smallest_file_within_three_tenths_of_a_point_counts():
    files = [file("large", 9000, 0.010), file("small", 5000, 0.0129), file("bad", 100, 0.05)]
    assert chosen(files, 0.010).name == "small"
    assert chosen(files, 0.2).name == "bad"
    assert chosen(files, 0.001).name == "large"  # none is near: the one that errs least
    assert chosen([], 0.1) is None


def test_test_errors_choose_nothing():
    files = [file("a", 900, 0.01, test_error=0.9), file("b", 901, 0.01, test_error=0.0)]
    assert chosen(files, 0.01).name == "a"


def test_seeds_end_with_means_of_what_all_of_them_have():
    def of_seed(size, error):
        ort = Cell("digits", "ort", [file("q", 10 * size, 0.01, error)], {}, 1.0, {})
        names = [file("int4", size, 0.01, error), file(f"only {size}", 1, 0.9)]
        return [ort, Cell("digits", "compress", names, {}, 1.0, {})], file("original", 40 * size, 0.01, error)

    table = over_seeds("digits", [of_seed(100, 0.01), of_seed(200, 0.03)])
    assert list(zip(*(column.cells for column in table.columns), strict=True)) == [
        ("", "original", "6,000", "2.00 ± 1.41 %"),
        ("compress", "as accurate as that of ort", "150", "2.00 ± 1.41 %"),
        ("compress", "int4", "150", "2.00 ± 1.41 %"),
        ("ort", "chosen", "1,500", "2.00 ± 1.41 %"),
    ]


def test_wrong_settings_are_told_together():
    with pytest.raises(
        SettingsError, match=r"(?s)No system 'nnfc'; did you mean 'nncf'\?.*seeds must hold at least one"
    ):
        Settings("nets", systems=["nnfc"], seeds=[])


def test_a_record_is_read_up_to_a_torn_line(tmp_path):
    cell = Cell("digits", "ort", [file("a", 1, 0.1)], {"b": "no"}, 1.5, {"onnx": "1"})
    path = tmp_path / "cells.jsonl"
    path.write_text(json.dumps(asdict(cell)) + '\n{"net": "dig')
    assert read_cells(path) == [cell]


def test_networks_have_the_parameters_that_they_are_said_to_have_and_keep_them(tmp_path):
    rng = np.random.default_rng(0)
    rows = {"x_train": rng.random((128, 1, 8, 8), np.float32), "y_train": np.arange(128) % 10}
    for name, parameters in (("digits", 14_378), ("images", 70_122)):
        module = module_of(name, rows, 0)
        folded = sum(parameter.numel() for parameter in module.parameters()) - sum(NETS[name].widths)
        assert folded == parameters
        assert len(NETS[name].widths) == len(NETS[name].strides)
    trained = fit(module_of("digits", rows, 0), rows, epochs=1, rate=0.01, seed=0)
    write_state(trained, tmp_path / "state.npz")
    again = module_of("digits", rows, 1).eval()
    read_state(again, tmp_path / "state.npz")
    export(again, (1, 8, 8), tmp_path / "model.onnx")
    found = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"x": rows["x_train"][:3]})[0]
    expected = trained(torch.from_numpy(rows["x_train"][:3])).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
