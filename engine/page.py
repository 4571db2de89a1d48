"""The frame of report.html: its style, its one script, and a policy under which nothing else can run or be fetched."""

from __future__ import annotations

import base64
import hashlib
import html

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f6f6f8; --ink: #1b1b1f; --dim: #5f5f69; --line: #d9d9de;
  --cloud: #a8a8ae; --search: #55555c; --valid: #0072b2; --test: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181c; --panel: #1f2026; --ink: #e9e9ed; --dim: #a3a3ae;
  --line: #35363e; --cloud: #62636d; --search: #b4b4bf; --valid: #56b4e9; --test: #f2935a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.3rem; }
h3 { margin: 0; font-size: 1.08rem; }
p { margin: .5rem 0; }
.dim { color: var(--dim); }
.lead { font-size: 1.08rem; color: var(--dim); }
a { color: var(--valid); }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: .5rem 0; padding: .7rem .9rem; overflow-x: auto; background: var(--panel); border-radius: 6px; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; }
svg.cell { display: block; max-width: 100%; height: auto; margin: .75rem 0; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th.text, td.text { text-align: left; }
td.wrap { white-space: normal; overflow-wrap: anywhere; }
th { vertical-align: bottom; font-weight: 600; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--valid); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
tbody tr:hover { background: var(--panel); }
tr.knee td:first-child { font-weight: 700; }
article { margin: 1rem 0; padding: 1.1rem 1.25rem; border: 1px solid var(--line); border-radius: 10px; }
article header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
article header p { margin: 0; }
.tag { padding: .05rem .5rem; border: 1px solid var(--line); border-radius: 99px; font-size: .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .75rem 0; font-size: .93rem; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
ol { margin: .4rem 0; padding-left: 1.4rem; font-size: .93rem; }
summary { cursor: pointer; color: var(--dim); }
footer { margin-top: 3rem; color: var(--dim); font-size: .85rem; }
@media print { body { max-width: none; } article { break-inside: avoid; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    const falling = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = row => row.cells[place].dataset.key ?? row.cells[place].textContent;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [parseFloat(x), parseFloat(y)];
      return Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => falling ? order(b, a) : order(a, b));
    table.tBodies[0].append(...rows);
  }));
}
"""


def page(title: str, body: str) -> str:
    """Return a whole page around a body of finished HTML.

    The policy lets only our own script run, by its hash, and lets nothing be loaded: a name that slipped through
    unescaped could still do no harm.

    Args:
        title: Plain text.
        body: HTML, everything from outside already escaped.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style>\n</head>\n<body>",
            body,
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )
