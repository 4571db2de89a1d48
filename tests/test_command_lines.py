"""Command lines of the drivers, as people type them."""

from pathlib import Path

import pytest

from conf.command import SPACES
from engine.arguments import lenient
from engine.errors import SettingsError

CONF = Path(__file__).parents[1] / "conf"


def test_every_space_is_searched_by_one_driver():
    named = [space for spaces in SPACES.values() for space in spaces]
    assert sorted(named) == sorted(path.stem for path in (CONF / "space").glob("*.yaml"))


def test_a_space_is_added_with_or_without_its_plus():
    assert lenient(["space=mlp", "budget=3"], CONF) == ["+space=mlp", "++budget=3"]
    assert lenient(["+space=mlp"], CONF) == ["+space=mlp"]


def test_flags_come_first_with_their_values():
    typed = ["budget=3", "--cfg", "job", "-m", "--package=engine"]
    assert lenient(typed, CONF) == ["--cfg", "job", "-m", "--package=engine", "++budget=3"]


def test_settings_with_dashes_are_told_as_they_are_written_and_all_at_once():
    with pytest.raises(SettingsError) as told:
        lenient(["--budget", "5", "--max-bytes=900", "--quiet", "seed=1", "space=cell"], CONF)
    lines = str(told.value).splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines[:3]] == ["budget=5", "max_bytes=900", "quiet=VALUE"]
    assert lines[0].startswith("'--budget' must be one of Hydra's flags")
    assert len(lines) == 4
    assert lines[3].startswith("No space 'cell'; did you mean 'cells'?")


@pytest.mark.parametrize(
    ("driver", "space", "other"), [("automl", "cells", "nas"), ("nas", "tabular", "automl"), ("nas", "rules", "rules")]
)
def test_a_space_of_another_driver_is_told_with_the_command_that_searches_it(capsys, monkeypatch, driver, space, other):
    import importlib

    module = importlib.import_module(f"{driver}.search")
    monkeypatch.setattr("sys.argv", ["search"])
    code = module.main([f"space={space}", "budget=2"])
    assert code == 2
    told = capsys.readouterr().err
    assert f"The space {space} is searched by another command: python -m {other}.search +space={space}." in told
    assert "Traceback" not in told
