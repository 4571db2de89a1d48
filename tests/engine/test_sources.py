"""Parquet, lines of JSON, and OpenML: the same tables as from a csv file."""

import gzip
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import _openml

from engine.errors import DataError, MissingExtraError
from engine.load import DataSettings, load

ROWS = 60


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 70, ROWS),
            "town": rng.choice(["Ulm", "Bonn", None], ROWS),
            "born": pd.date_range("1980-01-01", periods=ROWS, freq="40D"),
            "member": rng.choice([True, False], ROWS),
            "class": rng.choice(["good", "bad"], ROWS),
        }
    )


def read(name, path, target="class", **given):
    return load(DataSettings(name, path=str(path), target=target, **given), seed=0)


def same(first, second):
    return first.dataset.digest == second.dataset.digest and np.array_equal(first.test.x, second.test.x)


def test_parquet_and_lines_of_json_give_what_a_csv_file_gives(frame, tmp_path):
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    written = frame.assign(born=frame.born.astype(str))
    written.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    loaded = read("csv", tmp_path / "a.csv")
    assert loaded.dataset.signature.categorical_columns == ("town",)
    assert same(loaded, read("parquet", tmp_path / "a.parquet"))
    assert same(loaded, read("jsonl", tmp_path / "a.jsonl"))
    assert same(loaded, read("jsonl", tmp_path / "a.jsonl.gz"))


def test_columns_of_parquet_keep_their_types(frame, tmp_path):
    typed = frame.assign(code=pd.Categorical(np.where(frame.age % 2, "1", "2")), age=frame.age.astype("Int16"))
    typed.set_index("town").to_parquet(tmp_path / "a.parquet")
    signature = read("parquet", tmp_path / "a.parquet").dataset.signature
    assert signature.categorical_columns == ("town", "code")
    assert signature.numeric_columns[0] == "age"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("parquet", b"PAR1 is no such file PAR1", r"a\.parquet must be a readable Parquet file"),
        ("jsonl", b'{"a": 1}\nno json\n', r"a\.jsonl must hold one JSON mapping a line"),
        ("jsonl", b"\n", r"a\.jsonl (must have rows, it has none|must hold one JSON mapping a line)"),
        (
            "jsonl",
            b'{"a": [1], "class": 1}\n{"a": [2], "class": 2}\n',
            r"Column a must hold one value a row, not lists",
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    path = tmp_path / f"a.{name}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(name, path)


def test_an_empty_parquet_file(frame, tmp_path):
    frame[:0].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet must have rows, it has none"):
        read("parquet", tmp_path / "a.parquet")


def test_parquet_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lilliput\[tables\]'"):
        read("parquet", tmp_path / "a.parquet")


class OpenML(BaseHTTPRequestHandler):
    """The four questions of scikit-learn's client, and the file, for one data set: number 77, `people`."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 412)
        self.end_headers()
        self.wfile.write(content if content is not None else b'{"error": {"code": "372", "message": "No results"}}')

    def log_message(self, *_):
        pass


def arff(frame):
    lines = ["@RELATION people", "@ATTRIBUTE age NUMERIC", "@ATTRIBUTE town {Ulm,Bonn}", "@ATTRIBUTE born STRING"]
    lines += ["@ATTRIBUTE member {True,False}", "@ATTRIBUTE class {good,bad}", "@DATA"]
    for row in frame.itertuples(index=False):
        lines.append(f"{row[0]},{row[1] if isinstance(row[1], str) else '?'},'{row[2].date()}',{row[3]},{row[4]}")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def server(frame, monkeypatch):
    """OpenML on this machine; gives its address, and the questions asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OpenML)
    root = f"http://127.0.0.1:{server.server_port}"
    content = arff(frame)
    kinds = {"age": "numeric", "town": "nominal", "born": "string", "member": "nominal", "class": "nominal"}
    features = [
        {"index": str(n), "name": name, "data_type": kind, "is_target": str(name == "class").lower()}
        | {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
        for n, (name, kind) in enumerate(kinds.items())
    ]
    description = {"id": "77", "name": "people", "version": "1", "status": "active", "format": "ARFF", "file_id": "5"}
    description |= {
        "description": "People.",
        "url": f"{root}/file.arff",
        "md5_checksum": hashlib.md5(content).hexdigest(),
    }
    listed = {"data": {"dataset": [{"did": 77, "name": "people", "version": 1, "status": "active"}]}}
    answers = {
        "/list/people/status/active/": listed,
        "/list/people/data_version/1": listed,
        "/data/77": {"data_set_description": description},
        "/features/77": {"data_features": {"feature": features}},
        "/qualities/77": {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(ROWS)}]}},
    }
    monkeypatch.setattr(OpenML, "files", {key: json.dumps(value).encode() for key, value in answers.items()})
    OpenML.files["/file.arff"] = content
    monkeypatch.setattr(OpenML, "asked", [])
    for name, path in (("SEARCH_NAME", "list"), ("DATA_INFO", "data"), ("DATA_FEATURES", "features")):
        monkeypatch.setattr(_openml, f"_{name}", f"{root}/{path}/{{}}")
    monkeypatch.setattr(_openml, "_DATA_QUALITIES", f"{root}/qualities/{{}}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("given", [{"path": "people"}, {"path": "77"}, {"path": "People", "version": 1}])
def test_openml_by_name_and_number(server, frame, tmp_path, given):
    loaded = load(DataSettings("openml", cache=str(tmp_path / "kept"), **given), seed=0)
    signature = loaded.dataset.signature
    assert signature.classes == ("bad", "good")
    assert signature.categorical_columns == ("town", "member")
    assert {"age", "born:days"} < set(signature.numeric_columns)
    assert len(loaded.dataset.rows) + len(loaded.test) == ROWS
    assert f"OpenML data set 77: people, version 1, kept in {tmp_path / 'kept'}." in loaded.notes


def test_openml_is_asked_once(server, tmp_path):
    settings = DataSettings("openml", path="people", cache=str(tmp_path), target="town", types={"member": "boolean"})
    with pytest.raises(DataError, match="must have a target in every row"):
        load(settings, seed=0)
    asked = len(OpenML.asked)
    settings = DataSettings("openml", path="people", cache=str(tmp_path))
    first = load(settings, seed=0)
    assert asked == len(OpenML.asked)
    server.shutdown()
    assert same(first, load(settings, seed=0))


def test_openml_has_no_such_set(server, tmp_path):
    with pytest.raises(DataError, match=r"OpenML's data set 'poeple' cannot be read: No active dataset poeple found"):
        load(DataSettings("openml", path="poeple", cache=str(tmp_path)), seed=0)
    with pytest.raises(DataError, match=r"data\.version goes with a name, but data\.path=77 is a number"):
        load(DataSettings("openml", path="77", version=1, cache=str(tmp_path)), seed=0)


def test_openml_without_a_net(server, tmp_path, monkeypatch):
    monkeypatch.setattr(_openml, "_SEARCH_NAME", "http://127.0.0.1:9/list/{}")
    with pytest.raises(
        DataError, match=r"OpenML cannot be reached \(.*\), and .* does not hold 'people'; give data\.cache"
    ):
        load(DataSettings("openml", path="people", cache=str(tmp_path)), seed=0)
