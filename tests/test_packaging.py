"""What is installed is whole, and works outside the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
FOLDERS = ("engine", "compression", "nas", "automl", "rules", "conf", "experiments", "tests")
COPIED = (*FOLDERS, "pyproject.toml", "README.md", "LICENSE")
WHERE = "import engine, nas; print(engine.__file__); print(nas.__file__)"


def called(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the sources, so that the checkout stays as it is."""
    copy, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    called(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, copy, cwd=copy)
    (made,) = place.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of a fresh environment with the wheel; dependencies come from the running environment.

    A path in a .pth file is only put behind the new environment's own packages; the .pth files in it, the one of an
    editable install among them, are not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    called(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    called(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    place = called(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(place) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.slow
def test_the_wheel_holds_the_configuration_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    configuration = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert configuration <= set(names)
    assert "engine/py.typed" in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"engine", "compression", "nas", "automl", "rules", "conf", "experiments"}


@pytest.mark.slow
def test_an_installed_search_runs_outside_the_repository(installed, tmp_path):
    for place in called(installed, "-c", WHERE, cwd=tmp_path).split():
        assert Path(place).is_relative_to(installed.parents[1])
    small = ("budget=2", "train.steps=20", "finish.members=1", "workers=1", "max_macs=60000", "run=front_of_two")
    told = called(installed, "-m", "nas.search", "+space=cells", *small, cwd=tmp_path)
    assert "Trials: 2 complete" in told
    files = sorted((tmp_path / "front_of_two/front").glob("*/model.onnx"))
    assert files
    score = ("-m", "engine.show", "run=front_of_two")
    assert "most accurate: member 00" in called(installed, *score, cwd=tmp_path)


def test_python_3_14_is_excluded_and_the_reason_is_told():
    """Hydra 1.3 fails there at its command line; gzip, bz2 and lzma import a standard package `compression`."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    allowed = SpecifierSet(project["requires-python"])
    assert [minor for minor in range(9, 17) if f"3.{minor}.1" in allowed] == [11, 12, 13]
    reason = text.splitlines()[text.splitlines().index(f'requires-python = "{allowed_text(text)}"') - 1]
    assert "Hydra 1.3" in reason
    assert "compression" in reason
    hydra = next(entry for entry in project["dependencies"] if entry.startswith("hydra-core"))
    assert "<1.4" in hydra
    assert "3.14" in (ROOT / "README.md").read_text()


def allowed_text(text):
    return tomllib.loads(text)["project"]["requires-python"]
