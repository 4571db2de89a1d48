"""Rows read cell by cell: what reading whole columns gives, or nothing."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl.cells import Cells
from engine.artifact import Artifact
from engine.loaders.encoding import frame_inputs
from engine.loaders.kinds import Column

COLUMNS = (
    Column("age", "number", ("-7", "999")),
    Column("town", "category", ("unknown",)),
    Column("code", "category"),
    Column("owner", "boolean"),
)
CARD = {
    "columns": [column.to_json() for column in COLUMNS],
    "numeric_columns": ["age", "owner"],
    "categorical_columns": ["code", "town"],
}
NAMES = ("town", "age", "unused", "owner", "code")

NUMBERS = st.one_of(st.floats(), st.integers(-(2**62), 2**62), st.sampled_from([-7, 999.0, -7.5]))
TEXTS = st.one_of(st.text(max_size=4), st.sampled_from(["unknown", "3.0", "007", "nan", "?"]))


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 5))

    def column(cells):
        return draw(st.lists(st.one_of(cells, st.none()), min_size=rows, max_size=rows))

    codes = draw(st.sampled_from([TEXTS, st.integers(-5, 5), st.floats(-3, 3), st.booleans()]))
    made = {
        "town": pd.Series(column(TEXTS), dtype=draw(st.sampled_from([object, "str", "category"]))),
        "age": pd.Series(column(NUMBERS), dtype=draw(st.sampled_from([float, object]))),
        "unused": [object()] * rows,
        "owner": pd.Series(column(st.booleans()), dtype=draw(st.sampled_from([object, "boolean"]))),
        "code": pd.Series(column(codes), dtype=object),
    }
    return pd.DataFrame(made)


def cells():
    found = Cells.of(Artifact(b"", CARD), NAMES)
    assert found is not None
    return found


@settings(max_examples=60, deadline=None)
@given(tables())
def test_cells_give_what_whole_columns_give(frame):
    found = cells().read(frame.to_numpy(dtype=object).tolist())
    names = {"x": CARD["numeric_columns"], "c": CARD["categorical_columns"]}
    expected = frame_inputs(frame, names, COLUMNS)
    assert found is not None
    assert found["x"].dtype == expected["x"].dtype == np.float32
    assert np.array_equal(found["x"], expected["x"], equal_nan=True)
    assert found["c"].tolist() == expected["c"].tolist()


@pytest.mark.parametrize(
    ("place", "strange"),
    [(1, "12"), (1, True), (1, 2**70), (1, datetime.date(2026, 1, 1)), (0, b"Ulm"), (0, ["Ulm"]), (3, "yes"), (3, 1)],
)
def test_what_takes_a_closer_look_is_left_to_whole_columns(place, strange):
    row = ["Ulm", 3.5, None, True, "a"]
    assert cells().read([row]) is not None
    row[place] = strange
    assert cells().read([row]) is None


def test_dates_and_columns_that_the_card_does_not_tell_are_read_whole():
    born = {**CARD, "columns": [Column("born", "date").to_json()], "numeric_columns": ["born:year"]}
    assert Cells.of(Artifact(b"", born), ("born", *NAMES)) is None
    assert Cells.of(Artifact(b"", {**CARD, "columns": []}), NAMES) is None
    assert Cells.of(Artifact(b"", CARD), NAMES[1:]) is None
