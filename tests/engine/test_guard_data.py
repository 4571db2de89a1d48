"""Archives and images that are not what they say, or unpack to more than anybody means: one clear error."""

import contextlib
import io
import random
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image

from engine.errors import DataError
from engine.loaders import declared, folder
from engine.loaders.archive import read_archive
from engine.loaders.folder import read_images


def member(shape, payload=b"", dtype="<f4"):
    """Return an npy file with a header of this shape, and these bytes after it."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + payload


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("shape", [(2**40,), (2**40, 2**40), (5,), (2, 3)])
def test_arrays_shorter_than_they_say_are_refused_before_memory_is_taken(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(member(shape, b"1234" * 4))
    with pytest.raises(
        DataError, match=r"a\.npy must be a readable npz or npy file: it says it has shape .*there are 16"
    ):
        read_archive(tmp_path / "a.npy")
    path = archive(tmp_path / "a.npz", {"x.npy": member(shape, b"1234" * 4)})
    with pytest.raises(DataError, match=r"x\.npy says it has shape .*there are 16"):
        read_archive(path)


def test_arrays_without_bytes_are_counted(tmp_path):
    (tmp_path / "a.npy").write_bytes(member((2**50,), dtype="<U0"))
    with pytest.raises(DataError, match=r"it says it has shape"):
        read_archive(tmp_path / "a.npy")


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(declared, "FREE_BYTES", 2**20)
    zeros = np.zeros(2**20, np.float32)
    np.savez_compressed(tmp_path / "bomb.npz", x=zeros)
    with pytest.raises(DataError, match=r"its \d+ bytes unpack to \d+, more than 200 times as many; if that is meant"):
        read_archive(tmp_path / "bomb.npz")
    np.savez(tmp_path / "plain.npz", x=zeros)
    assert read_archive(tmp_path / "plain.npz")["x"].shape == zeros.shape
    monkeypatch.setattr(declared, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match=r"its arrays take \d+ bytes, at most 1048576 are read"):
        read_archive(tmp_path / "plain.npz")


def test_data_that_packs_well_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 28, 28), np.uint8), y=np.arange(1000))
    assert read_archive(tmp_path / "a.npz")["x"].shape == (1000, 28, 28)


def test_too_many_arrays_are_refused(tmp_path):
    path = archive(tmp_path / "a.npz", {f"x{n}.npy": member((1,), b"1234") for n in range(1001)})
    with pytest.raises(DataError, match=r"it holds 1001 arrays, at most 1000 are read"):
        read_archive(path)


def test_objects_are_refused_in_both_forms(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([None], object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=r"it holds Python objects; save arrays of numbers or text"):
            read_archive(tmp_path / name)


def test_names_that_lead_elsewhere_write_nothing(tmp_path):
    path = archive(tmp_path / "a.npz", {"../../x.npy": member((1,), b"1234")})
    assert list(read_archive(path)) == ["../../x"]
    assert [entry.name for entry in tmp_path.parent.iterdir() if entry.name == "x.npy"] == []


def changed(rng, content):
    made = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made[: rng.randrange(len(made)) if rng.random() < 0.2 else len(made)])


def test_changed_archives_are_arrays_or_a_data_error(tmp_path):
    rng, files = random.Random(0), []
    rows = np.random.default_rng(0).integers(0, 9, (20, 3))
    for save, name in ((np.savez, "a.npz"), (np.savez_compressed, "b.npz")):
        save(tmp_path / name, x=rows, y=np.array(["a", "b"]), z=np.array(3.5))
        files.append(tmp_path / name)
    np.save(tmp_path / "c.npy", rows)
    contents = [(path.suffix, path.read_bytes()) for path in [*files, tmp_path / "c.npy"]]
    read = 0
    for _ in range(600):
        suffix, content = rng.choice(contents)
        path = tmp_path / f"changed{suffix}"
        path.write_bytes(changed(rng, content))
        with contextlib.suppress(DataError):
            arrays = read_archive(path)
            assert sum(array.nbytes for array in arrays.values()) < 2**20
            read += 1
    assert read > 10


def test_images_are_not_decoded_before_their_sizes_agree(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, size in zip(paths, ((8, 8), (8, 8), (3000, 3000)), strict=True):
        Image.new("L", size).save(path)
    monkeypatch.setattr(folder, "_pixels", lambda path: pytest.fail("it was decoded"))
    with pytest.raises(DataError, match=r"most are 8 x 8 grey, 1 are not: .*2\.png \(3000 x 3000 grey\)"):
        read_images(paths)


def test_images_that_fill_the_memory_together_are_refused(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (100, 100)).save(path)
    assert read_images(paths).shape == (3, 3, 100, 100)
    monkeypatch.setattr(folder, "MAX_BYTES", 80_000)
    with pytest.raises(DataError, match=r"3 images of 100 x 100 RGB take 90000 bytes, at most 80000 are read\."):
        read_images(paths)


def test_changed_images_are_pixels_or_a_data_error(tmp_path):
    rng, contents = random.Random(0), []
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    for ending in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(pixels).save(path)
        contents.append((ending, path.read_bytes()))
    read = 0
    for _ in range(600):
        ending, content = rng.choice(contents)
        path = tmp_path / f"changed.{ending}"
        path.write_bytes(changed(rng, content))
        with contextlib.suppress(DataError):
            assert read_images([path]).nbytes < 2**28
            read += 1
    assert read > 10
