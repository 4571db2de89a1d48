import importlib.util
import json
import math
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.drawing import cell_picture
from engine.errors import ArtifactError
from engine.page import SCRIPT
from engine.plots import front_picture, size_ticks
from engine.report import failure_line, write_report
from engine.tables import read_cards, read_trials

_place = importlib.util.spec_from_file_location("finished_run", Path(__file__).parents[1] / "finished_run.py")
finished_run = importlib.util.module_from_spec(_place)
_place.loader.exec_module(finished_run)

EVIL = ("<script>document.title='owned'</script>", '"><img src=x onerror="document.title=1">')
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
MORE_FLAGS = "--disable-component-update --disable-sync --window-size=1000,2400"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def folder(tmp_path):
    return finished_run.write_run(tmp_path / "digits", classes=EVIL)


def parse(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    return text, tags


def test_the_report_tells_the_run(folder):
    text, tags = parse(folder)
    assert tags.tags.count("article") == len(read_cards(folder))
    for part in ("Searched space cells on digits: 18 trials, seed 0", "1 cached", "1 oversized", "2 GB", "3 failed"):
        assert part in text
    assert f"python -m nas.search run={folder.as_posix()} budget=36" in text
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")


def test_failures_are_grouped_and_escaped(folder):
    text, _ = parse(folder)
    assert (
        '<td>2</td><td class="text wrap">ValueError: loss is &lt;nan&gt;</td><td class="text wrap">5, 11</td>' in text
    )


def test_nothing_from_the_data_becomes_markup(folder):
    text, tags = parse(folder)
    assert tags.tags.count("script") == 1
    assert "img" not in tags.tags
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "&lt;script&gt;document.title" in text


def test_the_page_names_no_address(folder):
    text, tags = parse(folder)
    assert "://" not in text
    links = [value for name, value in tags.attributes if name in ("href", "src", "xlink:href")]
    assert links
    assert all(link.startswith("#") for link in links)


def test_every_point_has_a_title(folder):
    text, _ = parse(folder)
    cards = read_cards(folder)
    points = [p for trial in read_trials(folder) for p in trial.points]
    assert len(re.findall(r"<title>member \d\d: [\d.]+ % on test rows", text)) == len(cards)
    assert len(re.findall(r"<title>member \d\d: [\d.]+ % on validation rows", text)) == len(cards)
    assert len(re.findall(r"<title>trial \d+:", text)) >= len(points)


def test_the_report_is_the_same_twice(folder):
    assert parse(folder)[0] == parse(folder)[0]


def test_a_lean_card_is_enough(folder):
    for path in (folder / "front").glob("*/card.json"):
        card = json.loads(path.read_text())
        path.write_text(json.dumps({name: card[name] for name in ("bytes", "validation", "metric", "key")}))
    _, tags = parse(folder)
    assert "article" in tags.tags


def test_a_graph_that_cannot_be_drawn_is_told(folder):
    path = folder / "front/00/card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "graph": {"nodes": ["a"], "edges": [["a", "<b>", "x"]]}}))
    assert "The cell cannot be drawn: graph.edges must join known nodes, got &#x27;&lt;b&gt;&#x27;" in parse(folder)[0]


def test_errors_that_are_no_shares_keep_their_unit(folder):
    for path in (folder / "front").glob("*/card.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "metric": "rmse", "task": "regression"}))
    text, _ = parse(folder)
    assert " rmse in " in text
    assert "out: values" in text


def test_wide_errors_are_drawn_by_ratio_and_narrow_ones_are_not(folder):
    cards, trials = read_cards(folder), read_trials(folder)
    narrow = [
        {**card, "validation": {**card["validation"], "error": 0.1 + 0.01 * n}, "test": None}
        for n, card in enumerate(cards)
    ]
    assert front_picture(narrow, []).axes[0].get_yscale() == "linear"
    wide = [{**card, "validation": {**card["validation"], "error": 0.3 / 20**n}} for n, card in enumerate(cards)]
    assert front_picture(wide, trials).axes[0].get_yscale() == "log"
    perfect = [{**card, "validation": {"error": 0.0}, "test": None} for card in cards[:1]]
    assert front_picture(perfect, []).axes[0].get_yscale() == "linear"


def test_the_front_of_the_search_keeps_the_limits(folder):
    def front_of(within):
        lines = front_picture(read_cards(folder), read_trials(folder), within).axes[0].get_lines()
        return next(list(line.get_xdata()) for line in lines if line.get_gid() == "search")

    whole = front_of((0.0, math.inf))
    assert len(whole) > 1
    assert front_of((0.0, max(whole) - 1)) == [size for size in whole if size != max(whole)]
    assert front_of((max(whole), math.inf)) == [max(whole)]


def test_the_axis_tells_what_the_error_is(folder):
    def label(metric):
        cards = [{**card, "metric": metric} for card in read_cards(folder)]
        return front_picture(cards, []).axes[0].get_ylabel()

    assert [label(name) for name in ("accuracy", "auc", "log_loss", "mcc")] == [
        "error in %",
        "1 - auc in %",
        "error, log_loss",
        "error, 1 - mcc",
    ]


@pytest.mark.parametrize(("low", "high"), [(300, 900), (450, 21000), (100, 9e6), (1000, 1100), (3000, 3600)])
def test_sizes_have_round_ticks(low, high):
    ticks = size_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert ticks == sorted(ticks)
    assert low <= ticks[0] <= ticks[-1] <= high


def test_cells_are_drawn_with_every_edge():
    edges = [[a, b, f"op{a}{b}"] for a in range(7) for b in range(a + 1, 7)]
    picture = cell_picture({"nodes": list("abcdefg"), "edges": [*edges, [0, 1, "twin"]]})
    assert picture.count("<path") == 22
    assert picture.count("<rect") == 7
    assert len(set(re.findall(r' d="([^"]*)"', picture))) == 22
    spots = re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)"', picture)
    assert len(set(spots)) == len(spots)


def test_cells_in_a_circle_are_refused():
    with pytest.raises(ArtifactError, match="must not run in a circle"):
        cell_picture({"nodes": ["a", "b"], "edges": [["a", "b", ""], ["b", "a", ""]]})


def test_names_in_a_cell_are_escaped():
    assert "<b>" not in cell_picture({"nodes": ["<b>", "c"], "edges": [["<b>", "c", "<i>"]]})


def test_the_line_of_a_failure():
    assert failure_line("Trace\n  x\nKeyError: 3\n\n") == "KeyError: 3"
    assert failure_line("") == "no text"
    assert len(failure_line("x" * 999)) == 300


@pytest.mark.slow
def test_a_browser_shows_the_report_and_runs_nothing_from_the_data(folder, tmp_path, monkeypatch):
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no chromium on this machine")
    page = write_report(folder)

    def run(*more):
        profile = tempfile.mkdtemp(dir=tmp_path)
        command = [browser, *FLAGS.split(), *MORE_FLAGS.split(), f"--user-data-dir={profile}", *more, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    dom = run("--dump-dom")
    assert "<title>digits - Lilliput</title>" in dom
    assert dom.count("<article") == len(read_cards(folder))
    assert dom.count('<svg class="cell"') == len(read_cards(folder))
    assert '<table class="sortable">' in dom
    assert dom.count("<title>trial") > 10
    monkeypatch.setattr("engine.page.SCRIPT", SCRIPT + 'document.querySelectorAll("th button")[4].click();')
    write_report(folder)
    sorted_dom = run("--dump-dom", "--mute-audio")
    assert 'aria-sort="ascending"' in sorted_dom
    table = sorted_dom[sorted_dom.index("<tbody>") : sorted_dom.index("</tbody>")]
    sizes = [int(row[4]) for row in (re.findall('data-key="([^"]*)"', row) for row in table.split("</tr>")[:-1])]
    assert sizes == sorted(card["bytes"] for card in read_cards(folder))
    picture = tmp_path / "report.png"
    run(f"--screenshot={picture}")
    assert picture.stat().st_size > 50_000
