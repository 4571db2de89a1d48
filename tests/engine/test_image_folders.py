"""A folder for each class; every image of one size and mode, or its name in the message."""

import warnings

import numpy as np
import pytest
from PIL import Image

from engine.errors import DataError
from engine.load import DataSettings, load
from engine.loaders.folder import read_images


def write_images(folder, *, count=12, size=(6, 5), mode="RGB", classes=("cat", "dog"), ending="png"):
    for position, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), 10 * number + position, dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{number:02}.{ending}")
    return folder


def load_folder(folder, **settings):
    return load(DataSettings(name="images", path=str(folder), **settings), seed=0)


@pytest.mark.parametrize(
    ("mode", "ending", "channels"),
    [("RGB", "png", 3), ("L", "bmp", 1), ("RGBA", "png", 4), ("1", "png", 1), ("P", "gif", 3), ("RGB", "jpg", 3)],
)
def test_modes(tmp_path, mode, ending, channels):
    signature = load_folder(write_images(tmp_path, mode=mode, ending=ending)).dataset.signature
    assert (signature.kind, signature.dtype, signature.shape) == ("images", "uint8", (channels, 5, 6))
    assert signature.classes == ("cat", "dog")


def test_pixels_and_classes_belong_together(tmp_path):
    loaded = load_folder(write_images(tmp_path))
    rows = loaded.dataset.rows
    assert np.array_equal(rows.x[:, 0, 0, 0] % 10, rows.y)


def test_a_test_folder_of_its_own(tmp_path):
    write_images(tmp_path / "train")
    write_images(tmp_path / "test", count=3)
    loaded = load_folder(tmp_path / "train", test_path=str(tmp_path / "test"))
    assert (len(loaded.dataset.rows), len(loaded.test)) == (24, 6)


def test_what_is_no_image_is_noted(tmp_path):
    write_images(tmp_path)
    (tmp_path / "cat" / "readme.txt").write_text("hello")
    (tmp_path / "fish").mkdir()
    notes = load_folder(tmp_path).notes
    assert any("1 files or folders are not images and were ignored." in note for note in notes)
    assert any("folders without images were ignored: fish." in note for note in notes)


def test_offenders_are_named(tmp_path):
    write_images(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "dog" / "large.png")
    Image.new("L", (6, 5)).save(tmp_path / "cat" / "grey.png")
    with pytest.raises(
        DataError, match=r"most are 6 x 5 RGB, 2 are not: .*grey\.png \(6 x 5 grey\); .*large\.png \(9 x 9"
    ):
        load_folder(tmp_path)


def test_unreadable_images_are_named(tmp_path):
    write_images(tmp_path)
    for number in range(7):
        (tmp_path / "dog" / f"torn{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"7 images cannot be read: .*torn0\.png.*; and 2 more\."):
        load_folder(tmp_path)


def test_images_of_other_depth_are_refused(tmp_path):
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: mode I;16 is not 8 bit grey or colour; convert it"):
        read_images([tmp_path / "deep.png"])


def test_bombs_are_refused(tmp_path, monkeypatch):
    Image.new("L", (40, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(), pytest.raises(DataError, match=r"large\.png: Image size \(1600 pixels\) exceeds"):
        read_images([tmp_path / "large.png"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"must have one folder for each class, it has none\."),
        (lambda folder: (folder / "a").mkdir(), r"must have images in its class folders \(\.bmp, .*\), it has none\."),
        (
            lambda folder: write_images(folder, classes=("train", "test")),
            r"it has test, train; give the training folder",
        ),
        (lambda folder: write_images(folder, classes=("a",)), r"must hold at least two classes, all rows are 'a'\."),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        load_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.png must be a folder, got a file\."):
        load_folder(tmp_path / "a.png")
