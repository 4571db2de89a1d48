"""Files of tables: csv, plain or gzipped, Parquet, and lines of JSON."""

from __future__ import annotations

import gzip
import io
import json
import warnings
import zlib
from pathlib import Path

import pandas as pd

from engine.errors import DataError, MissingExtraError
from engine.loaders.joining import join_frames
from engine.loaders.paths import files_of
from engine.loaders.raw import Raw
from engine.loaders.settings import DataSettings

__all__ = ["ENDINGS", "read_csv", "read_file", "read_table"]

ENDINGS = (".csv", ".csv.gz", ".parquet", ".jsonl", ".jsonl.gz")
FREE_BYTES = 256 * 2**20  # up to which a gzip file may be packed as tightly as gzip can
MAX_RATIO = 200  # beyond that; tables of real data reach a tenth of it


def read_table(settings: DataSettings) -> Raw:
    """Read the files of a source, of the format that it names."""
    read = {"csv": read_csv, "parquet": _read_parquet, "jsonl": _read_jsonl}[settings.name]
    frames = {origin: read(path) for origin, path in files_of(settings).items()}
    return join_frames(frames, settings, target=str(settings.target), where=str(settings.path))


def read_file(path: Path) -> pd.DataFrame:
    """Read a table in the format that its name ends in.

    Raises:
        DataError: If it has another ending, is unreadable or has no rows.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path)
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _read_jsonl(path)
    if name.endswith(".parquet"):
        return _read_parquet(path)
    raise DataError(f"{path} must end in {', '.join(ENDINGS)}.")


def read_csv(path: Path) -> pd.DataFrame:
    """Return all fields as text; only an empty field is missing, "NA" and "None" are words.

    Raises:
        DataError: If it is unreadable, unpacks to far too much, or has no rows.
    """
    try:
        with warnings.catch_warnings(), _opened(path) as file:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""], index_col=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty.") from error
    except (OSError, ValueError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        raise DataError(f"{path} must be a readable csv file in UTF-8 with one header line: {error}.") from error
    if frame.empty:
        raise DataError(f"{path} must have rows below its header line, it has none.")
    return frame


def _read_jsonl(path: Path) -> pd.DataFrame:
    try:
        with _opened(path) as file:
            frame = pd.DataFrame([json.loads(line) for line in file if line.strip()])
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zlib.error) as error:
        raise DataError(f"{path} must hold one JSON mapping a line: {error}.") from error
    if frame.empty:
        raise DataError(f"{path} must have rows, it has none.")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Parquet files need the package pyarrow: pip install 'lilliput[tables]'.") from error
    try:
        frame: pd.DataFrame = parquet.read_table(path).to_pandas()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} must be a readable Parquet file: {error}.") from error
    if frame.index.name is not None or frame.index.nlevels > 1:
        frame = frame.reset_index()
    if frame.empty:
        raise DataError(f"{path} must have rows, it has none.")
    return frame


def _opened(path: Path) -> io.BufferedReader:
    """Open a file, unpacked where its name ends in .gz."""
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    return io.BufferedReader(_Unpacked(path), buffer_size=2**20)


class _Unpacked(io.RawIOBase):
    """Bytes of a gzip file, until they are far more than its length explains."""

    def __init__(self, path: Path) -> None:
        self.inner = gzip.GzipFile(path, "rb")
        self.left = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self.inner.readinto(buffer)
        self.left -= count
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {MAX_RATIO} times its length; if that is meant, unpack it first")
        return count

    def close(self) -> None:
        self.inner.close()
        super().close()
