import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from engine.errors import RecordError
from engine.intervals import wilson
from engine.tables import error_text, front_table, print_table, read_cards, read_settings, read_trials, write_front_csv

_place = importlib.util.spec_from_file_location("finished_run", Path(__file__).parents[1] / "finished_run.py")
finished_run = importlib.util.module_from_spec(_place)
_place.loader.exec_module(finished_run)


@pytest.fixture
def folder(tmp_path):
    return finished_run.write_run(tmp_path / "digits")


def test_wilson_agrees_with_the_published_example():
    low, high = wilson(18, 540)
    assert (round(low, 4), round(high, 4)) == (0.0212, 0.0521)


@pytest.mark.parametrize(("errors", "rows", "inside"), [(0, 40, 0.0), (40, 40, 1.0), (0, 0, 0.5)])
def test_wilson_stays_within_a_share(errors, rows, inside):
    low, high = wilson(errors, rows)
    assert 0.0 <= low <= inside <= high <= 1.0


def test_wilson_refuses_more_errors_than_rows():
    with pytest.raises(ValueError, match="0 <= errors <= rows, got 3 and 2"):
        wilson(3, 2)


def test_cards_come_in_order_of_validation_error_with_their_numbers(folder):
    cards = read_cards(folder)
    errors = [card["validation"]["error"] for card in cards]
    assert errors == sorted(errors)
    assert [card["member"] for card in cards] == list(range(len(cards)))


def test_a_torn_last_line_is_left_out_and_a_broken_one_is_told(folder):
    path = folder / "trials.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"number": 20, "sta')
    assert len(read_trials(folder)) == 20
    path.write_text('{"number": 0}\n' + whole)
    with pytest.raises(RecordError, match=r"trials\.jsonl, line 1, must be a trial"):
        read_trials(folder)


def test_settings_are_read(folder):
    assert read_settings(folder)["budget"] == 18
    (folder / "settings.yaml").write_text("- 1\n")
    with pytest.raises(RecordError, match="must be a mapping of settings, got list"):
        read_settings(folder)
    (folder / "settings.yaml").write_text("a: [")
    with pytest.raises(RecordError, match="must be YAML"):
        read_settings(folder)


def test_folders_that_are_no_finished_runs_are_told(folder, tmp_path):
    with pytest.raises(RecordError, match="There is no run folder"):
        read_cards(tmp_path / "none")
    with pytest.raises(RecordError, match=r"has no settings\.yaml and no trials\.jsonl"):
        read_cards(tmp_path)
    with pytest.raises(RecordError, match="has no finished front yet"):
        read_cards(finished_run.write_run(tmp_path / "early", finished=False))
    (folder / "front/00/card.json").write_text(json.dumps({"bytes": 3}))
    with pytest.raises(RecordError, match=r"00/card\.json must be a card with bytes and validation\.error"):
        read_cards(folder)


def test_nothing_wraps_at_80_columns(folder):
    cards = [{**card, "coding": "palette of 16, sparse bitmap, int8, float16"} for card in read_cards(folder)]
    cards[0] |= {"bytes": 12_345_678, "parameters": 45_678_901}
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(front_table(cards))
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(cards) + 2
    assert max(map(len, lines)) <= 80
    assert "12,345,678" in stream.getvalue()


def test_into_a_pipe_nothing_is_cut(folder):
    stream = io.StringIO()
    cards = read_cards(folder)
    print_table(front_table(cards), stream)
    text = stream.getvalue()
    assert cards[0]["coding"] in text
    assert "…" not in text
    assert "\x1b" not in text


def test_a_pipe_that_cannot_write_the_lines_still_gets_the_numbers(folder):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_table(front_table(read_cards(folder)), stream)
    assert b"valid err %" in raw.getvalue()


def test_a_table_without_test_rows_has_dashes(tmp_path):
    folder = finished_run.write_run(tmp_path / "untested", tested=False)
    stream = io.StringIO()
    print_table(front_table(read_cards(folder)), stream)
    assert " - " in stream.getvalue()


def test_the_csv_holds_every_member(folder):
    cards = read_cards(folder)
    write_front_csv(folder / "front.csv", cards)
    with (folder / "front.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    header = "member,error,low,high,test_error,test_low,test_high,bytes,parameters,coding,latency_us,key"
    assert list(rows[0]) == header.split(",")
    assert [float(row["error"]) for row in rows] == [card["validation"]["error"] for card in cards]
    assert [int(row["bytes"]) for row in rows] == [card["bytes"] for card in cards]


def test_errors_have_their_unit():
    assert error_text(0.5, "accuracy") == "50.00 %"
    assert error_text(0.5, "rmse") == "0.5 rmse"
    assert error_text(float("nan"), "rmse") == "-"
