"""Every page of docs/methods holds an example, and it runs."""

import dataclasses
import re
from pathlib import Path

import pytest

from compression.recipes.settings import RecipesSettings, Settings, TrainSettings

FOLDER = Path(__file__).parents[2] / "docs" / "methods"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(code, page.name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_it_names_is_there(page):
    named = re.findall(r"`(compression/\w+\.py)`", page.read_text(encoding="utf-8"))
    assert all((FOLDER.parents[1] / name).exists() for name in named)


def test_the_settings_page_has_every_key_of_its_own_with_its_default():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) ?\| ", (FOLDER / "search.md").read_text(), re.MULTILINE))
    made = Settings(model="m.onnx")
    expected = {"model": "", "budget": str(made.budget), "teacher": "null"}
    for prefix, kind in (("space", RecipesSettings), ("train", TrainSettings)):
        for field in dataclasses.fields(kind):
            if field.name != "name":
                value = getattr(kind(), field.name)
                expected[f"{prefix}.{field.name}"] = str(value).replace("'", "")
    assert rows == expected
