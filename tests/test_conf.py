"""Every option of every group composes, and the settings understand it; nothing is run."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from automl.autosklearn.settings import AutoSklearnSettings
from automl.search import settings_of
from automl.settings import Settings as TableSettings
from compression.recipes.settings import Settings as RecipeSettings
from engine.backends.registry import BACKENDS
from engine.errors import SettingsError
from engine.loaders.settings import SOURCES, DataSettings, check
from engine.samplers.registry import SAMPLERS, sampler_named
from engine.settings import build
from engine.winners import FinishSettings
from nas.cells import cells_space
from nas.settings import Settings, settings_for
from rules.settings import Settings as RulesSettings

SPACES = ("cells", "cells1d", "mobile", "mlp", "tabular", "autosklearn", "rules")
CONF = Path(__file__).parents[1] / "conf"
OPTIONS = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
NEEDED = {  # keys without which an option is an error
    "npz": ["data.path=x.npz"],
    "images": ["data.path=pictures"],
    "csv": ["data.path=rows.csv", "data.target=y"],
    "parquet": ["data.path=rows.parquet", "data.target=y"],
    "jsonl": ["data.path=rows.jsonl", "data.target=y"],
    "openml": ["data.path=credit-g"],
}


# How the settings of each driver are made; the first line of a space's file names the driver.
DRIVERS = {
    "nas": lambda plain: build(settings_for(plain), plain),
    "automl": settings_of,
    "rules": lambda plain: build(RulesSettings, plain),
}


def settings(*overrides, driver="nas"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose(driver, list(overrides)), resolve=True, throw_on_missing=True)
    return DRIVERS[driver](plain)


def driver_of(group, option):
    first = (CONF / group / f"{option}.yaml").read_text().splitlines()[0]
    return re.search(r"python -m (\w+)\.search", first)[1] if group == "space" else "nas"


def chosen(group, option):
    plus = "+" if group == "space" else ""
    return settings(f"{plus}{group}={option}", *NEEDED.get(option, []), driver=driver_of(group, option))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_makes_settings(group, option):
    made = chosen(group, option)
    assert getattr(made, group).name == option
    check(made.data)


def test_every_option_is_known():
    known = {"backend": BACKENDS, "sampler": SAMPLERS, "data": SOURCES, "space": SPACES}
    assert {group for group, _ in OPTIONS} == set(known)
    for group, option in OPTIONS:
        assert option in known[group]
    assert {option for group, option in OPTIONS if group == "data"} == set(SOURCES)
    assert {option for group, option in OPTIONS if group == "backend"} == set(BACKENDS)


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "sampler"])
def test_every_sampler_can_be_made(option):
    assert sampler_named(option, seed=0)


def test_the_primary_alone_is_the_default():
    assert settings() == Settings()
    assert settings("+space=cells") == Settings()


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "data"])
def test_an_option_of_data_changes_no_default(option):
    given = {"name", *(key.split("=")[0].removeprefix("data.") for key in NEEDED.get(option, []))}
    plain = asdict(DataSettings())
    for key, value in asdict(chosen("data", option).data).items():
        assert key in given or value == plain[key]


def test_the_space_can_be_narrowed_from_the_command_line():
    made = settings("+space=cells", "space.stages=1", "space.codings=[ternary]", "space.widths=[8,16]")
    space = cells_space(made.space)
    assert space.domains["stage0.coding"].options == ("ternary",)
    assert "stage1.width" not in space.domains


def test_every_file_says_how_it_is_chosen():
    for group, option in OPTIONS:
        assert f"{group}={option}" in (CONF / group / f"{option}.yaml").read_text().splitlines()[0]


@pytest.mark.parametrize("kind", [TableSettings, AutoSklearnSettings, RulesSettings, RecipeSettings])
def test_only_networks_are_trained_to_teach(kind):
    with pytest.raises(SettingsError, match=r"finish\.teachers says nothing here"):
        kind(finish=FinishSettings(teachers=1))
    assert Settings(finish=FinishSettings(teachers=1)).finish.teachers == 1
