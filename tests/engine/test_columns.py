"""What columns are, and that rows to predict go the way of rows that train."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.load import DataSettings, load_frame
from engine.loaders.columns import canonical_text
from engine.loaders.dates import PARTS, date_parts, parse_dates
from engine.loaders.encoding import frame_inputs
from engine.loaders.kinds import Column, kind_of
from engine.loaders.values import Values

ROWS = 120


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["3", "-0.5", "1e5", " 2"], "number"),
        (["3", "?", "NA", "n/a", "-", None, "NaN"], "number"),
        ([1, 2], "number"),
        ([1.5, None], "number"),
        ([decimal.Decimal("1.5"), None], "number"),
        (pd.to_timedelta([1, 2], unit="s"), "number"),
        (["20260131"], "number"),
        (["NA", "None", "?"], "category"),
        (["007", "8"], "category"),
        (["1,5"], "category"),
        (["a", 1], "category"),
        (["yes", "no"], "category"),
        (["12:30"], "category"),
        (["31.01.2026"], "category"),
        (["2026-02-30"], "category"),
        (pd.Categorical([1, 2]), "category"),
        ([True, False], "boolean"),
        ([True, None], "boolean"),
        (["true", "FALSE", None], "boolean"),
        (["2026-01-31", None], "date"),
        (["2026-01-31T12:00:00Z", "2026-01-31 12:00"], "date"),
        ([datetime.date(2026, 1, 31)], "date"),
        (pd.to_datetime(["2026-01-31"]), "date"),
        (pd.to_datetime(["2026-01-31"]).tz_localize("Europe/Berlin"), "date"),
        (pd.period_range("2026-01", periods=2, freq="M"), "date"),
        ([None, None], None),
        ([np.nan, np.nan], None),
        (["", ""], None),
    ],
)
def test_what_a_column_is(values, kind):
    assert kind_of(Values(pd.Series(values))) == kind


def test_a_column_of_nothing_but_missing_codes_is_missing():
    assert kind_of(Values(pd.Series([-9, -9.0]), ("-9",))) is None
    assert kind_of(Values(pd.Series(["-9.0", "unknown"]), ("-9", "unknown"))) is None


@pytest.mark.parametrize(
    "values", [[-9, -7, 2.5], ["-9", "-7.0", "2.5"], [-9, "-7", "2.5"], pd.Categorical([-9, -7, 2.5])]
)
def test_missing_codes_are_found_however_they_are_written(values):
    read = Values(pd.Series(values), ("-9", "-7"))
    assert read.coded == 2
    assert np.array_equal(read.numbers()[0], [np.nan, np.nan, 2.5], equal_nan=True)
    assert read.texts().tolist() == ["", "", "2.5"]


def test_parts_of_a_date():
    times = parse_dates(["1969-12-31", "2024-02-29 18:30", None, "2024-03-01T01:00:00+02:00"], "")
    parts = date_parts(times)
    assert tuple(parts) == PARTS
    assert np.array_equal(parts["days"], [-1, 19782, np.nan, 19782], equal_nan=True)
    assert np.array_equal(parts["weekday"], [2, 3, np.nan, 3], equal_nan=True)
    assert np.array_equal(parts["hour"], [0, 18.5, np.nan, 23], equal_nan=True)
    assert parts["year"][[0, 1]].tolist() == [1969, 2024]


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)))
def test_parts_of_any_date_agree_with_python(when):
    parts = {name: part[0] for name, part in date_parts(pd.Series([pd.Timestamp(when)])).items()}
    assert (parts["year"], parts["month"], parts["day"]) == (when.year, when.month, when.day)
    assert parts["weekday"] == when.weekday()
    assert parts["days"] == when.date().toordinal() - datetime.date(1970, 1, 1).toordinal()
    assert parts["hour"] == pytest.approx(when.hour + when.minute / 60 + when.second / 3600, abs=1e-6)


def people(seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 70, ROWS),
            "town": rng.choice(["Ulm", "Bonn", None], ROWS),
            "zip": rng.choice(["01234", "80331"], ROWS),
            "signup": pd.date_range("2024-01-05", periods=ROWS, freq="5D"),
            "member": rng.choice([True, False], ROWS),
            "score": rng.choice([-9.0, -7.0, 1.0, 2.5], ROWS),
            "plan": rng.integers(0, 3, ROWS),
        }
    )
    return frame, pd.Series(np.where(frame.age + 10 * frame.member > 45, "rich", "poor"), name="income")


def test_the_columns_of_a_frame_go_their_ways():
    frame, y = people()
    settings = DataSettings("frame", missing_codes=[-9, -7], types={"plan": "category"})
    loaded = load_frame(frame, y, settings=settings)
    signature = loaded.dataset.signature
    assert signature.numeric_columns == (
        *("age", "signup:days", "signup:year", "signup:month", "signup:day", "signup:weekday", "member", "score"),
    )
    assert signature.categorical_columns == ("town", "zip", "plan")
    assert loaded.notes[:4] == (
        "Numbers (2): age, score.",
        "Categories (3): town, zip, plan.",
        "Booleans (1): member.",
        "Dates (1): signup.",
    )
    count = int(frame.score.isin([-9, -7]).sum())
    assert f"{count} values are missing by data.missing_codes, in 1 columns: score." in loaded.notes
    assert np.isnan(loaded.dataset.rows.x[:, 7]).any()
    assert not np.isin(loaded.dataset.rows.x[:, 7], [-9, -7]).any()


@pytest.mark.parametrize("form", ["frame", "text", "categories"])
def test_rows_to_predict_are_read_as_rows_that_train(form):
    frame, y = people()
    settings = DataSettings("frame", missing_codes={"score": [-9]}, types={"plan": "category"}, test_share=0)
    loaded = load_frame(frame, y, settings=settings)
    signature = loaded.dataset.signature
    names = {"x": signature.numeric_columns, "c": signature.categorical_columns}
    new = frame[::-1].reset_index(drop=True)[list(reversed(frame.columns))].assign(other=1)
    if form == "text":
        new = new.astype({"signup": str, "age": str, "member": str, "plan": float})
    if form == "categories":
        new = new.astype({"town": "category", "plan": "category"})
    columns = [Column.from_json(column.to_json()) for column in loaded.columns]
    made = frame_inputs(new, names, columns)
    rows = loaded.dataset.rows  # all of them, in their order
    assert np.array_equal(made["x"], rows.x[::-1], equal_nan=True)
    assert made["c"].tolist() == rows.c[::-1].tolist()


@pytest.mark.parametrize("members", [[True, False], ["true", "False"], [1, 0]])
def test_dates_and_booleans_need_no_card(members):
    names = {"x": ("signup:month", "member", "a:day"), "c": ()}
    frame = pd.DataFrame({"member": members, "signup": ["2026-03-01", None], "a:day": [4, 5]})
    made = frame_inputs(frame, names)
    assert np.array_equal(made["x"], [[3, 1, 4], [np.nan, 0, 5]], equal_nan=True)


def test_everything_wrong_with_new_rows_is_told_at_once():
    names = {"x": ("age", "signup:days", "member"), "c": ("town",)}
    columns = (Column("signup", "date"), Column("member", "boolean"))
    frame = pd.DataFrame({"age": ["many"], "signup": ["31.1.2026"], "member": ["perhaps"]})
    with pytest.raises(DataError) as caught:
        frame_inputs(frame, names, columns, where="new.csv")
    assert str(caught.value).splitlines() == [
        "new.csv must have the columns of the model, it lacks town. It has age, signup, member.",
        "Column age of new.csv must hold numbers, got 'many'.",
        "Column signup of new.csv must hold dates such as 2026-01-31, got '31.1.2026'.",
        "Column member of new.csv must hold true and false, yes and no, or 1 and 0, got 'perhaps'.",
    ]


def test_dates_of_another_form():
    frame, y = people()
    frame["signup"] = frame.signup.dt.strftime("%d.%m.%Y")
    loaded = load_frame(frame, y, settings=DataSettings("frame", types={"signup": "date:%d.%m.%Y"}))
    assert "signup:weekday" in loaded.dataset.signature.numeric_columns
    assert loaded.columns[3].to_json() == {"name": "signup", "kind": "date", "date_format": "%d.%m.%Y"}
    with pytest.raises(DataError, match=r"must hold dates such as 2026-01-31, got '05\.01\.2024'"):
        load_frame(frame, y, settings=DataSettings("frame", types={"signup": "date"}))


def test_columns_that_say_nothing_are_dropped_and_told():
    frame, y = people()
    frame["one"], frame["empty"], frame["twin"], frame["town2"] = 7, None, frame.age, frame.town
    frame["id"], frame["row"] = [f"id{number}" for number in range(ROWS)], range(ROWS)
    loaded = load_frame(frame, y)
    kept = loaded.dataset.signature.numeric_columns + loaded.dataset.signature.categorical_columns
    assert not {"one", "empty", "twin", "town2"} & set(kept)
    assert {
        "Column empty is wholly missing and was dropped.",
        "Dropped, since all rows have one value: one.",
        "Dropped, since they repeat another column: twin (of age), town2 (of town).",
        "Column id has 120 different texts in 120 rows; data.drop=id unless it repeats in new rows.",
        "Column row counts the rows; data.drop=row unless it is known of new rows.",
    } <= set(loaded.notes)
    assert "one" not in {column.name for column in loaded.columns}


def test_the_last_constant_column_stays():
    loaded = load_frame(pd.DataFrame({"a": [1] * 40, "b": ["u"] * 40}), [0, 1] * 20)
    assert loaded.dataset.signature.numeric_columns + loaded.dataset.signature.categorical_columns == ("a",)


def test_what_is_taken_for_missing_is_told():
    frame, y = people()
    frame["age"] = frame.age.astype(str).where(frame.age % 7 > 0, "?")
    assert "Taken for missing: '?' in age." in load_frame(frame, y).notes


def test_forbidden_and_protected_columns_are_no_inputs():
    frame, y = people()
    loaded = load_frame(frame, y, settings=DataSettings("frame", forbid=["zip"], protect=["town", "age"]))
    assert not {"zip", "town", "age"} & {column.name for column in loaded.columns}
    assert set(loaded.protected) == {"town", "age"}
    assert len(loaded.protected["town"]) == len(loaded.test)
    assert set(loaded.protected["town"]) <= {"Ulm", "Bonn", ""}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"types": {"ag": "number"}}, r"data\.types: no column 'ag' in the table; did you mean 'age'\? Columns: age, "),
        ({"types": {"age": "nubmer"}}, r"data\.types\.age must be one of number, category, .* did you mean 'number'\?"),
        ({"types": {"age": "date:iso"}}, r"data\.types\.age must be one of .* \(or date:FORMAT\), got 'date:iso'"),
        ({"types": {"town": "number"}}, r"Column town of the table must hold numbers, got '(Ulm|Bonn)'\."),
        ({"types": {"town": "boolean"}}, r"Column town of the table must hold true and false"),
        ({"missing_codes": {"scor": [1]}}, r"data\.missing_codes: no column 'scor' in the table; did you mean 'score'"),
        ({"forbid": ["zipp"]}, r"data\.forbid: no column 'zipp' in the table; did you mean 'zip'\?"),
        ({"protect": ["twon"]}, r"data\.protect: no column 'twon' in the table; did you mean 'town'\?"),
        ({"drop": ["zip"], "types": {"zip": "number"}}, r"data\.types names zip, which is no input by data\.drop"),
    ],
)
def test_columns_that_are_named_wrongly(given, message):
    frame, y = people()
    with pytest.raises(DataError, match=message):
        load_frame(frame, y, settings=DataSettings("frame", **given))


def test_a_thousand_columns_are_told_in_a_line():
    x = np.random.default_rng(0).normal(size=(60, 1000))
    loaded = load_frame(x, np.arange(60) % 2)
    assert loaded.notes[0] == "Numbers (1000): x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 and 990 more."


@pytest.mark.parametrize("entry", [{"name": "a"}, {"name": 1, "kind": "date"}, {"name": "a", "kind": "text"}])
def test_a_card_with_broken_columns(entry):
    with pytest.raises(ValueError, match="a column must have a name and one of the kinds"):
        Column.from_json(entry)


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3), st.floats(allow_nan=False)), min_size=1))
def test_texts_are_canonical_whatever_comes(values):
    made = Values(pd.Series(values, dtype=object)).texts()
    assert made.tolist() == ["" if value is None else canonical_text(value) for value in values]
