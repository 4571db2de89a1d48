"""Folders of images: one folder a class."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import DataError
from engine.loaders.joining import Arrays, join_arrays
from engine.loaders.paths import files_of
from engine.loaders.raw import Raw
from engine.loaders.settings import DataSettings

__all__ = ["ENDINGS", "image_files", "read_folder", "read_images"]

# Endings and decoders that are tried; some of Pillow's others start outside programs.
ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP",
           ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM"}  # fmt: skip
FORMATS = tuple(sorted(set(ENDINGS.values())))
READ_AS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
MAX_BYTES = 16 * 2**30  # of all pixels together
SPLIT_NAMES = {"train", "training", "test", "testing", "valid", "validation", "val"}


def image_files(folder: Path) -> list[Path]:
    """Return the images directly in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith("."))


def read_images(paths: list[Path]) -> np.ndarray:
    """Read images of one size and mode.

    Returns:
        uint8, shape (n_images, channels, height, width).

    Raises:
        DataError: With the files that cannot be read, or differ from the most frequent size and mode.
    """
    shapes: list[tuple[int, ...]] = []
    problems: list[str] = []
    for path in paths:
        try:
            shapes.append(_shape(path))
        except Exception as error:  # Pillow's readers raise whatever they stumble over
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"{len(problems)} images cannot be read: {_some(problems)}")
    (usual, _), *others = Counter(shapes).most_common()
    if others:
        offenders = [f"{p} ({_named(shape)})" for p, shape in zip(paths, shapes, strict=True) if shape != usual]
        raise DataError(
            f"All images must have one size and mode; most are {_named(usual)}, "
            f"{len(offenders)} are not: {_some(offenders)}"
        )
    total = len(paths) * math.prod(usual)
    if total > MAX_BYTES:
        raise DataError(f"{len(paths)} images of {_named(usual)} take {total} bytes, at most {MAX_BYTES} are read.")
    x = np.empty((len(paths), *usual), np.uint8)
    for number, path in enumerate(paths):
        try:
            x[number] = _pixels(path)
        except Exception as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"{len(problems)} images cannot be read: {_some(problems)}")
    return x


def read_folder(settings: DataSettings) -> Raw:
    """Read a folder of class folders; the folders' names are the classes."""
    parts = {}
    notes: list[str] = []
    for origin, folder in files_of(settings, folders=True).items():
        classes = _class_folders(folder)
        found = [(path, name) for name, inner in classes.items() for path in image_files(inner)]
        others = sum(len(list(inner.iterdir())) for inner in classes.values()) - len(found)
        if others:
            notes.append(f"{folder}: {others} files or folders are not images and were ignored.")
        empty = [name for name, inner in classes.items() if not image_files(inner)]
        if empty:
            notes.append(f"{folder}: folders without images were ignored: {', '.join(empty)}.")
        if not found:
            raise DataError(
                f"{folder} must have images in its class folders ({', '.join(sorted(ENDINGS))}), it has none."
            )
        parts[origin] = Arrays(read_images([path for path, _ in found]), np.asarray([name for _, name in found]))
    return join_arrays(parts, settings, kind="images", where=str(settings.path), notes=notes)


def _class_folders(folder: Path) -> dict[str, Path]:
    classes = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    if not classes:
        raise DataError(f"{folder} must have one folder for each class, it has none.")
    if set(classes) <= SPLIT_NAMES:
        raise DataError(
            f"{folder} must have one folder for each class, it has {', '.join(classes)}; "
            "give the training folder as data.path, the others as data.valid_path and data.test_path."
        )
    return classes


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; one with more pixels than Pillow's limit is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in READ_AS:
                raise ValueError(f"mode {image.mode} is not 8 bit grey or colour; convert it to PNG with 8 bits")
            yield image


def _shape(path: Path) -> tuple[int, ...]:
    with _opened(path) as image:
        return (len(READ_AS[image.mode]), image.height, image.width)


def _pixels(path: Path) -> np.ndarray:
    with _opened(path) as image:
        pixels = np.asarray(image.convert(READ_AS[image.mode]), dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _named(shape: tuple[int, ...]) -> str:
    mode = {1: "grey", 3: "RGB", 4: "RGBA"}[shape[0]]
    return f"{shape[2]} x {shape[1]} {mode}"


def _some(entries: list[str]) -> str:
    return "; ".join(entries[:5]) + (f"; and {len(entries) - 5} more." if len(entries) > 5 else ".")
