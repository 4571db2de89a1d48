"""How benchmarks are called."""

import runpy
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from experiments.launch import launch, launch_around_search

SCRIPTS = Path(__file__).parents[2] / "experiments"
BENCHES = [
    *sorted(path.stem for path in SCRIPTS.glob("*.py") if "    sys.exit(launch" in path.read_text(encoding="utf-8")),
    *("ablation", "bench_automl", "bench_nasbench201", "bench_racing", "mine_portfolio"),
]


@dataclass(frozen=True)
class Settings:
    """Of a benchmark that does not exist."""

    pairs: int = 3


@pytest.mark.parametrize("name", BENCHES)
def test_help_prints_what_the_module_says(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    usage = (import_module(f"experiments.{name}").__doc__ or "").strip()
    with pytest.warns(RuntimeWarning, match="found in sys.modules"), pytest.raises(SystemExit) as end:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    assert end.value.code == 0
    assert len(usage) > 100
    assert usage == capsys.readouterr().out.strip()


def test_settings_arrive_and_the_exit_code_comes_back():
    seen = []
    assert launch(Settings, lambda settings: seen.append(settings) or 5, "usage", ["pairs=7"]) == 5
    assert seen == [Settings(7)]


def test_what_is_not_the_benchmarks_own_is_the_searchs():
    seen = []
    run = lambda *told: seen.append(told) or 0  # noqa: E731
    assert launch_around_search(Settings, run, "usage", ["pairs=7", "budget=2", "finish.members=1"]) == 0
    (settings, given), *_ = seen
    assert settings == Settings(7)
    assert given["budget"].value == 2
    assert given["finish"]["members"].value == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["pair=7"], "Unknown key pair; did you mean pairs"),
        (["pairs"], "'pairs' must have the form key=value"),
        (["pairs=many"], "pairs must be"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_runs(typed, told, capsys):
    assert launch(Settings, lambda _settings: pytest.fail("It ran."), "usage", typed) == 2
    assert told in capsys.readouterr().err
