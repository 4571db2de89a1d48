import dataclasses
from typing import Literal

import pytest

from engine.errors import SettingsError
from engine.settings import build, from_arguments


@dataclasses.dataclass
class Data:
    name: str
    rows: int | None = None
    columns: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Plan:
    data: Data
    budget: int = 100
    rate: float = 0.5
    quiet: bool = False
    metric: Literal["error", "auc"] = "error"
    shape: tuple[int, ...] = ()

    def __post_init__(self):
        if self.budget < 1:
            raise SettingsError(f"budget must be at least 1, got {self.budget}.")


def plan(**given):
    return build(Plan, {"data": {"name": "digits"}, **given})


def test_plain_containers_become_settings():
    made = plan(data={"name": "csv", "rows": 3, "columns": ["a"]}, shape=[1, 2])
    assert made == Plan(Data("csv", 3, ["a"]), shape=(1, 2))


@pytest.mark.parametrize(
    ("key", "value", "became"),
    [
        ("rate", 1, 1.0),
        ("rate", "1e-3", 0.001),
        ("metric", "auc", "auc"),
        ("shape", 4, (4,)),
        ("data", {"name": 7}, Data("7")),
        ("data", {"name": "x", "rows": None}, Data("x")),
        ("data", {"name": "x", "columns": "a"}, Data("x", columns=["a"])),
    ],
)
def test_what_is_meant_is_understood(key, value, became):
    made = getattr(plan(**{key: value}), key)
    assert made == became
    assert type(made) is type(became)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"bugdet": 7}, r"Unknown key bugdet; did you mean budget\? Known keys: budget, data, metric"),
        (
            {"data": {"name": "x", "row": 7}},
            r"Unknown key data\.row; did you mean data\.rows\? Known keys: columns, name",
        ),
        ({"rows": 7}, r"Unknown key rows; did you mean data\.rows\? Known keys: budget, data, metric"),
        ({"data": {}}, r"data\.name must be given: add data\.name=\.\.\. to the command"),
        ({"data": "digits"}, "data must be a mapping of keys, got 'digits'"),
        ({"budget": "abc"}, "budget must be an integer, got 'abc'"),
        ({"budget": 1.5}, r"budget must be an integer, got 1\.5"),
        ({"budget": True}, "budget must be an integer, got True"),
        ({"budget": 0}, "budget must be at least 1, got 0"),
        ({"rate": "fast"}, "rate must be a number, got 'fast'"),
        ({"rate": True}, "rate must be a number, got True"),
        ({"quiet": "yes"}, "quiet must be true or false, got 'yes'"),
        ({"metric": "eror"}, "metric must be one of error, auc, got 'eror'; did you mean 'error'"),
        ({"metric": "zzz"}, r"metric must be one of error, auc, got 'zzz'\."),
        ({"shape": [1, "b"]}, r"shape\[1\] must be an integer, got 'b'"),
        ({"data": 3}, "data must be a mapping of keys, got 3"),
        ({"data": {"name": "x", "rows": "many"}}, r"data\.rows must be an integer or null, got 'many'"),
    ],
)
def test_what_is_wrong_is_named(given, text):
    with pytest.raises(SettingsError, match=text):
        plan(**given)


def test_all_problems_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        build(Plan, {"bugdet": 7, "rate": "fast"})
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    assert all(part in text for part in ("bugdet", "rate must", "data must be given"))


def test_what_is_no_mapping_is_refused():
    with pytest.raises(SettingsError, match="The settings must be a mapping of keys, got 3"):
        build(Plan, 3)


def values(read):
    return {key: values(value) if isinstance(value, dict) else value.value for key, value in read.items()}


def test_arguments_are_read_as_yaml_with_dots_as_nesting():
    read = from_arguments(["a=1", "b.c=[1, x]", "b.d.e=null", "rate=1e-3", "text=a: b: c", "path=x=y", "empty="])
    assert values(read) == {
        "a": 1, "b": {"c": [1, "x"], "d": {"e": None}}, "rate": "1e-3", "text": "a: b: c", "path": "x=y", "empty": None
    }  # fmt: skip


@pytest.mark.parametrize("order", [["data=new.csv", "data.rows=3"], ["data.rows=3", "data=new.csv"]])
def test_a_bare_value_of_a_group_is_its_name(order):
    assert build(Plan, from_arguments(order)).data == Data("new.csv", 3)


def test_a_text_stays_as_it_was_typed():
    made = build(Plan, from_arguments(["data=2024.10", "data.columns=no", "data.rows=7", "quiet=true", "rate=1e-2"]))
    assert made == Plan(Data("2024.10", 7, ["no"]), rate=0.01, quiet=True)


def test_every_argument_without_an_equals_sign_is_told():
    with pytest.raises(SettingsError, match=r"'budget' must have the form key=value\.\n'seed' must"):
        from_arguments(["budget", "a=1", "seed"])


def test_mappings_of_names():
    @dataclasses.dataclass
    class Typed:
        types: dict[str, str] | None = None
        codes: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    assert build(Typed, {"types": {"zip": "category"}, "codes": {"a": [-9, "1e3"]}}) == Typed(
        {"zip": "category"}, {"a": [-9.0, 1000.0]}
    )
    with pytest.raises(SettingsError, match=r"codes must be a mapping of names, each to a list"):
        build(Typed, {"codes": [1]})
    with pytest.raises(SettingsError, match=r"codes\.a\[0\] must be a number, got 'x'\."):
        build(Typed, {"codes": {"a": ["x"]}})


@dataclasses.dataclass(frozen=True)
class Inner:
    effort: float = 3.0
    members: int = 16


@dataclasses.dataclass(frozen=True)
class Outer:
    finish: Inner = dataclasses.field(default_factory=lambda: Inner(effort=1.0))
    other: Inner = Inner(members=2)


def test_what_is_given_in_part_keeps_the_rest_as_its_owner_has_it():
    assert build(Outer, {"finish": {"members": 3}, "other": {}}) == Outer(Inner(1.0, 3), Inner(3.0, 2))
