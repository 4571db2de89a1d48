"""A small drawing of a cell: nodes from left to right, operations as labelled curves. Plain SVG, no library."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from engine.errors import ArtifactError

__all__ = ["cell_picture"]

MAX_NODES = 40
GAP, ROW, LANE = 150.0, 62.0, 34.0
NODE_HEIGHT, LETTER = 26.0, 7.0
LABEL_LETTER, LABEL_HEIGHT = 6.2, 14.0
SHARES = (0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8)


@final
@dataclass(frozen=True)
class _Edge:
    source: int
    target: int
    label: str


@final
@dataclass(frozen=True)
class _Curve:
    """A cubic curve between two nodes."""

    points: tuple[tuple[float, float], ...]

    def at(self, share: float) -> tuple[float, float]:
        rest = 1.0 - share
        weights = (rest**3, 3 * rest**2 * share, 3 * rest * share**2, share**3)
        x = sum(weight * point[0] for weight, point in zip(weights, self.points, strict=True))
        y = sum(weight * point[1] for weight, point in zip(weights, self.points, strict=True))
        return x, y

    def path(self) -> str:
        first, *rest = [f"{x:.1f},{y:.1f}" for x, y in self.points]
        return f"M{first} C{' '.join(rest)}"


def cell_picture(graph: Mapping[str, Any]) -> str:
    """Draw a cell as SVG; its colours are the variables --ink, --line, --paper and --valid of the page.

    Nodes stand in layers by their longest way from an input. An edge to the next layer runs straight; longer and
    parallel edges run above and below in lanes of their own.

    Args:
        graph: `nodes`, a list of names, and `edges`, a list of (from, to, label); ends are names or places in the list.

    Raises:
        ArtifactError: If an edge names an unknown node, or the edges run in a circle.
    """
    names = [str(name) for name in graph["nodes"]]
    edges = _edges(names, graph["edges"])
    layers = _layers(len(names), edges)
    places = _places(layers)
    curves = _curves(edges, layers, places, _widths(names))
    labels = _labels(edges, curves)
    return _svg(names, places, curves, labels)


def _edges(names: Sequence[str], given: Sequence[Sequence[Any]]) -> list[_Edge]:
    if len(names) > MAX_NODES:
        raise ArtifactError(f"graph.nodes must name at most {MAX_NODES} nodes, got {len(names)}.")

    def place(end: Any) -> int:
        if isinstance(end, int) and 0 <= end < len(names):
            return end
        if str(end) in names:
            return names.index(str(end))
        raise ArtifactError(f"graph.edges must join known nodes, got {end!r}; nodes: {', '.join(names)}.")

    return [_Edge(place(edge[0]), place(edge[1]), str(edge[2]) if len(edge) > 2 else "") for edge in given]


def _layers(count: int, edges: Sequence[_Edge]) -> list[int]:
    layers = [0] * count
    for _ in range(count + 1):
        moved = False
        for edge in edges:
            if layers[edge.target] <= layers[edge.source]:
                layers[edge.target] = layers[edge.source] + 1
                moved = True
        if not moved:
            return layers
    raise ArtifactError("graph.edges must not run in a circle.")


def _places(layers: Sequence[int]) -> list[tuple[float, float]]:
    rows: dict[int, list[int]] = {}
    for node, layer in enumerate(layers):
        rows.setdefault(layer, []).append(node)
    places = [(0.0, 0.0)] * len(layers)
    for layer, nodes in rows.items():
        for row, node in enumerate(nodes):
            places[node] = (GAP * layer, ROW * (row - (len(nodes) - 1) / 2))
    return places


def _widths(names: Sequence[str]) -> list[float]:
    return [max(30.0, LETTER * len(name) + 16) for name in names]


def _curves(
    edges: Sequence[_Edge], layers: Sequence[int], places: Sequence[tuple[float, float]], widths: Sequence[float]
) -> list[_Curve]:
    reach = max((abs(y) for _, y in places), default=0.0)
    sides = _lanes(edges, layers, places)
    curves = []
    for edge, lane in zip(edges, sides, strict=True):
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        if lane == 0:
            start, end = (x0 + widths[edge.source] / 2, y0), (x1 - widths[edge.target] / 2 - 5, y1)
            bend = (end[0] - start[0]) / 2
            curves.append(_Curve((start, (start[0] + bend, y0), (end[0] - bend, y1), end)))
            continue
        side = 1 if lane > 0 else -1
        # A cubic reaches three quarters of the way to its control points.
        height = side * (reach + NODE_HEIGHT / 2 + LANE * abs(lane)) / 0.75
        edge_y = side * NODE_HEIGHT / 2
        start, end = (x0 + 6, y0 + edge_y), (x1 - 6, y1 + edge_y + side * 4)
        # Beside other nodes of its layer a node is left and entered at its sides, so that no edge crosses a node.
        if layers.count(layers[edge.source]) > 1:
            start = (x0 + widths[edge.source] / 2, y0)
        if layers.count(layers[edge.target]) > 1:
            end = (x1 - widths[edge.target] / 2 - 5, y1)
        lean = 0.12 * (end[0] - start[0])
        curves.append(_Curve((start, (start[0] + lean, height), (end[0] - lean, height), end)))
    return curves


def _lanes(edges: Sequence[_Edge], layers: Sequence[int], places: Sequence[tuple[float, float]]) -> list[int]:
    """Return 0 for an edge that runs straight, else its lane: below (positive) or above (negative) the nodes."""
    lanes = [0] * len(edges)
    straight: set[tuple[int, int]] = set()
    taken: dict[int, list[tuple[int, int]]] = {}
    order = sorted(range(len(edges)), key=lambda n: (layers[edges[n].target] - layers[edges[n].source], n))
    for number in order:
        edge = edges[number]
        low, high = layers[edge.source], layers[edge.target]
        if high - low == 1 and (edge.source, edge.target) not in straight:
            straight.add((edge.source, edge.target))
            continue
        free = (
            side * level
            for level in range(1, len(edges) + 2)
            for side in ((1, -1) if places[edge.source][1] + places[edge.target][1] > 0 else (-1, 1))
            if all(low >= other_high or high <= other_low for other_low, other_high in taken.get(side * level, []))
        )
        lanes[number] = next(free)
        taken.setdefault(lanes[number], []).append((low, high))
    return lanes


def _labels(edges: Sequence[_Edge], curves: Sequence[_Curve]) -> list[tuple[float, float, str]]:
    """Place each label on its curve where it covers no other label."""
    placed: list[tuple[float, float, str]] = []
    for edge, curve in zip(edges, curves, strict=True):
        if not edge.label:
            continue
        spots = [curve.at(share) for share in SHARES]
        free = [spot for spot in spots if not any(_covers(spot, edge.label, other) for other in placed)]
        x, y = (free or spots)[0]
        placed.append((x, y, edge.label))
    return placed


def _covers(spot: tuple[float, float], label: str, other: tuple[float, float, str]) -> bool:
    width = LABEL_LETTER * (len(label) + len(other[2])) / 2 + 6
    return abs(spot[0] - other[0]) < width and abs(spot[1] - other[1]) < LABEL_HEIGHT


def _svg(
    names: Sequence[str],
    places: Sequence[tuple[float, float]],
    curves: Sequence[_Curve],
    labels: Sequence[tuple[float, float, str]],
) -> str:
    widths = _widths(names)
    xs = [x + side * width / 2 for (x, _), width in zip(places, widths, strict=True) for side in (-1, 1)]
    xs += [x + side * LABEL_LETTER * len(text) / 2 for x, _, text in labels for side in (-1, 1)]
    ys = [y + side * NODE_HEIGHT / 2 for _, y in places for side in (-1, 1)]
    ys += [curve.at(0.5)[1] + side * LABEL_HEIGHT / 2 for curve in curves for side in (-1, 1)]
    left, top = min(xs, default=0.0) - 4, min(ys, default=0.0) - 4
    width, height = max(xs, default=0.0) + 4 - left, max(ys, default=0.0) + 4 - top
    size = f'viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [f'<svg class="cell" role="img" aria-label="the cell" {size}>']
    parts += [_arrow(curve) for curve in curves]
    halo = 'text-anchor="middle" font-size="11" fill="var(--ink)" stroke="var(--paper)" stroke-width="5"'
    parts += [
        f'<text x="{x:.1f}" y="{y + 4:.1f}" {halo} paint-order="stroke">{html.escape(text)}</text>'
        for x, y, text in labels
    ]
    parts += [_node(name, place, width) for name, place, width in zip(names, places, widths, strict=True)]
    return "".join([*parts, "</svg>"])


def _arrow(curve: _Curve) -> str:
    (x0, y0), (x1, y1) = curve.points[2], curve.points[3]
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    tip = (x1 + 4 * dx, y1 + 4 * dy)
    wings = [(x1 - 4 * dx + side * 4 * dy, y1 - 4 * dy - side * 4 * dx) for side in (-1, 1)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, *wings))
    line = f'<path d="{curve.path()}" fill="none" stroke="var(--search)" stroke-width="1.4"/>'
    return f'{line}<polygon points="{corners}" fill="var(--search)"/>'


def _node(name: str, place: tuple[float, float], width: float) -> str:
    x, y = place
    box = f'x="{x - width / 2:.1f}" y="{y - NODE_HEIGHT / 2:.1f}" width="{width:.1f}" height="{NODE_HEIGHT:.0f}"'
    text = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12" fill="var(--ink)"'
    look = 'rx="7" fill="var(--paper)" stroke="var(--valid)" stroke-width="1.6"'
    return f"<rect {box} {look}/><text {text}>{html.escape(name)}</text>"
