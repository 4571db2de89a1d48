"""What several tests of experiments share."""

import csv
import gzip
import itertools

import numpy as np
import pytest

from experiments.nasbench201 import EDGES, OPERATIONS, features, parameters

COLUMNS = ("op_1_0", "op_2_0", "op_2_1", "op_3_0", "op_3_1", "op_3_2")


@pytest.fixture(scope="session")
def cells_file(tmp_path_factory):
    """A table of NAS-Bench-201's form: error falls with convolutions on live edges, and with a shortcut."""
    place = tmp_path_factory.mktemp("table") / "cells.csv.gz"
    rng = np.random.default_rng(0)
    with gzip.open(place, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "cifar10_val_acc_12ep", "cifar10_test_acc_200ep"])
        for codes in itertools.product(range(5), repeat=6):
            cell = [OPERATIONS[codes[COLUMNS.index(f"op_{target}_{source}")]] for source, target in EDGES]
            told = features(cell)
            error = 60 * (parameters(cell) / 73_306) ** -0.4 - 5 * told[1] + 8 * told[6]
            seen = error + rng.normal() * 0.3
            writer.writerow([*codes, f"{100 - seen:.3f}", f"{100 - 0.4 * error:.3f}"])
    return place
