"""The documentation does what it says: commands run, settings are complete, links lead somewhere."""

import dataclasses
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits

from engine.backends.settings import BackendSettings
from engine.winners import FinishSettings
from nas.settings import Settings, TrainSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))
PACKAGES = ("engine", "conf", "compression", "nas", "automl", "rules", "experiments")

# A documented search is run with these keys instead of its own, and with a fiftieth of its budget.
ANY = {"finish.members": "1", "workers": "1", "backend": "serial", "quiet": "true"}
SMALLER = {
    "nas.search": {"train.steps": "12", "max_macs": "60000", "finish.effort": "0.5", **ANY},
    "automl.search": ANY,
    "rules.search": ANY,
}
# And in Python, where the documentation says `budget=100`.
SMALLER_PYTHON = (
    "budget=4, train=TrainSettings(steps=12), max_macs=60_000, finish=FinishSettings(members=1, effort=0.5), "
    "max_bytes=5000, workers=1, backend=BackendSettings('serial'), quiet=True"
)
NAMES = {
    "__name__": "__main__",
    "FinishSettings": FinishSettings,
    "BackendSettings": BackendSettings,
    "TrainSettings": TrainSettings,
}


def blocks(page, *languages):
    text = page.read_text(encoding="utf-8")
    return [
        body for name, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if name in languages
    ]


def commands(page):
    lines = [line for body in blocks(page, "bash", "console") for line in body.splitlines()]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.strip()]


def shrunk(arguments, smaller):
    budget = next((int(a.split("=")[1]) for a in arguments if a.startswith("budget=")), 100)
    kept = [a for a in arguments if a.split("=")[0] not in {*smaller, "budget", "seconds"}]
    return [*kept, f"budget={max(1, budget // 50)}", *(f"{key}={value}" for key, value in smaller.items())]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The files that documented commands name: images as npz and as folders, and a table with a target."""
    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target
    np.savez(tmp_path / "x.npz", x=x[:300], y=y[:300])
    np.savez(tmp_path / "new.npz", x=x[300:320, None])
    np.savez(tmp_path / "labelled.npz", x=x[300:400], y=y[300:400])
    for folder, rows in (("pictures", range(300)), ("pictures_test", range(300, 400))):
        for row in rows:
            place = tmp_path / folder / f"digit_{y[row]}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[row]).save(place / f"{row:04d}.png")
    table = (
        load_breast_cancer(as_frame=True)
        .frame.iloc[:, [0, 1, 2, 3, 30]]
        .assign(clinic=lambda frame: np.where(frame.index % 3 == 0, "north", "south"))
    )
    table.columns = ["radius", "texture", "perimeter", "area", "benign", "clinic"]
    table.to_csv(tmp_path / "table.csv", index=False)
    table.drop(columns="benign").iloc[:20].to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words, monkeypatch):
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {words[1]}"
    elif words[0] == "optuna-dashboard":
        assert optuna.get_all_study_names(words[1]), "the storage holds no study"
    else:
        assert words[:2] == ["python", "-m"], f"no test knows how to run {words[0]}"
        main = importlib.import_module(words[2]).main
        arguments = shrunk(words[3:], SMALLER[words[2]]) if words[2] in SMALLER else words[3:]
        monkeypatch.setattr("sys.argv", [words[2], *arguments])
        assert main(arguments) == 0


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_documented_commands_run(page, workspace, monkeypatch, capfd):
    for words in commands(page):
        try:
            run(words, monkeypatch)
        except (AssertionError, SystemExit) as error:
            raise AssertionError(f"{shlex.join(words)}\n{error}\n{capfd.readouterr().err}") from error
    keys = {key for card in workspace.glob("runs/*/front/*/card.json") for key in json.loads(card.read_text())}
    told_keys = set(re.findall(r"`(\w+)`", (ROOT / "docs/files.md").read_text()))
    assert keys, "no documented search wrote a file"
    assert keys <= told_keys, f"docs/files.md does not tell {keys - told_keys}"
    names = dict(NAMES)
    for code in blocks(page, "python"):
        exec(compile(code.replace("budget=100", SMALLER_PYTHON), page.name, "exec"), names)
    if page.name == "README.md":
        assert names["probabilities"].shape == (20, 10)
        assert np.allclose(names["probabilities"].sum(axis=1), 1, atol=1e-5)
        assert names["point"].values["bytes"] <= 5000


def modules():
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        yield from (found.name for found in pkgutil.walk_packages(package.__path__, f"{name}."))


MODULES = [name for name in modules() if name not in PACKAGES]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_described(name):
    module = importlib.import_module(name)
    assert module.__doc__, "the module says nothing of itself"
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        is_own = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
        if is_own:
            text = value.__doc__ or ""
            assert text, f"{public} has no docstring"
            assert not text.startswith(f"{public}("), f"{public} has only the one of a dataclass"


def keys_of(settings, prefix=""):
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def told(value):
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(told, value))}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def defaults():
    made = dict(keys_of(Settings()))
    made |= {"backend.name": Settings().backend.name, "sampler.name": Settings().sampler.name}
    return {key: told(value) for key, value in made.items()}


def test_the_settings_page_has_every_key_with_its_default_and_no_other():
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    assert len({key for key, *_ in rows}) == len(rows)
    assert {key: default for key, _, default, _ in rows} == defaults()


def test_keys_in_the_readme_exist():
    known = defaults()
    groups = {key.split(".")[0] for key in known}
    for key in re.findall(r"`([\w.*]+)(?:=[^`]*)?`", (ROOT / "README.md").read_text()):
        parts = key.split(".")
        if len(parts) == 2 and parts[0] in {"data", "train", "finish", "space"} and parts[1] != "*":
            assert key in known
        elif "*" in key:
            assert parts[0] in groups


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_layout_names_every_module_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    layout = next(
        body for body in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if "arguments.py" in body
    )
    folders, named = [], set()
    for line in layout.splitlines():
        word, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], word.rstrip("/")]
        if word.endswith(".py"):
            named.add("/".join(folders))
    files = {path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert named == {path.as_posix() for path in files if path.name != "__init__.py"}
