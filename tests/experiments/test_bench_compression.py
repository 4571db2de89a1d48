"""The benchmark of containers: files in processes of their own, and peers that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from compression.graphs.fold import simplified
from experiments.bench_compression import Settings, by_peer, coded, measured, parameters_of, resnet8


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)


def test_files_are_timed_in_turns_and_their_memory_told(tmp_path: Path, rows: np.ndarray) -> None:
    base = simplified(resnet8(0))
    for name, content in (("whole", base.SerializeToString()), ("int4", coded(base, "int4", 1.0))):
        (tmp_path / f"{name}.onnx").write_bytes(content)
    np.save(tmp_path / "rows.npy", rows)
    files = {name: tmp_path / f"{name}.onnx" for name in ("whole", "int4")}
    told = measured(files, Settings(repeats=1), tmp_path / "rows.npy")
    assert list(told) == ["whole", "int4"]
    for microseconds, memory in told.values():
        assert microseconds > 0
        assert memory > 300_000 or sys.platform != "linux"  # what is decoded has 78,000 float32 weights


def test_a_file_that_does_not_open_ends_the_measurement(tmp_path: Path, rows: np.ndarray) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(SystemExit, match=r"broken\.onnx.* ended with 1"):
        measured({"broken": tmp_path / "broken.onnx"}, Settings(), tmp_path / "rows.npy")


def test_a_peer_that_is_not_there_is_a_skipped_row(tmp_path: Path, rows: np.ndarray) -> None:
    base = simplified(resnet8(0))
    assert parameters_of(resnet8(0)) == 77_946
    assert by_peer("nncf", None, base, rows, tmp_path) == "skipped: no interpreter peers.nncf= was given"
    absent = str(tmp_path / "python")
    assert str(by_peer("nncf", absent, base, rows, tmp_path)).startswith(f"skipped: {absent} cannot be run")
