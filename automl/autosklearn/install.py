"""Set up auto-sklearn in an interpreter of its own: `python -m automl.autosklearn.install python=... folder=...`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from engine.command import main_guard
from engine.errors import MissingExtraError, SettingsError
from engine.settings import build, from_arguments

__all__ = ["FOLDER", "InstallSettings", "install", "interpreter", "main"]

FOLDER = Path.home() / ".cache" / "lilliput" / "autosklearn"
# auto-sklearn 0.15 is the last release; these versions work with it and with each other.
FIRST = ("setuptools<60", "wheel")
PACKAGES = (
    *("auto-sklearn==0.15.0", "scikit-learn==0.24.2", "numpy==1.22.4", "scipy==1.8.1", "pandas==1.5.3"),
    *("dask==2022.12.1", "distributed==2022.12.1", "ConfigSpace==0.4.21", "smac==1.2", "pyrfr==0.8.3"),
    *("pynisher==0.6.4", "skl2onnx==1.16.0", "onnx==1.16.2", "onnxruntime==1.19.2"),
)
CHECK = "import sys; sys.exit(sys.version_info[:2] != (3, 9))"
WORKS = "import autosklearn.classification, skl2onnx"


@final
@dataclass(frozen=True)
class InstallSettings:
    """What this command understands.

    Args:
        python: A Python 3.9 that the environment is made with.
        folder: Of the environment.
    """

    python: str = "python3.9"
    folder: str = str(FOLDER)


def interpreter(folder: Path | str) -> Path:
    """Return the path that the interpreter of an environment has."""
    return Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(settings: InstallSettings) -> Path:
    """Make the environment, or complete it, and return its interpreter.

    Raises:
        SettingsError: If `python` is no Python 3.9.
        MissingExtraError: If a package cannot be installed, or auto-sklearn does not run.
    """
    python, made = shutil.which(settings.python), interpreter(settings.folder)
    if python is None or subprocess.run([python, "-c", CHECK], check=False).returncode:
        raise SettingsError(
            f"python must be a Python 3.9, the last that auto-sklearn 0.15 runs on; {settings.python} is none. "
            "Install one and give its path: python=/path/to/python3.9."
        )
    if not made.exists():
        _run([python, "-m", "venv", settings.folder])
    for packages in (FIRST, PACKAGES):
        _run([str(made), "-m", "pip", "install", "--quiet", *packages])
    _run([str(made), "-c", WORKS])
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def work() -> int:
        given = sys.argv[1:] if arguments is None else arguments
        sys.stdout.write(f"auto-sklearn is ready: {install(build(InstallSettings, from_arguments(given)))}\n")
        return 0

    return main_guard(work)


def _run(command: Sequence[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise MissingExtraError(f"auto-sklearn is not set up: `{' '.join(command[:4])} ...` failed, as it says above.")


if __name__ == "__main__":
    sys.exit(main())
