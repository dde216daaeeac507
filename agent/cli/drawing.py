"""Graphs as pictures, laid out by grandalf and drawn by matplotlib, both local; see the extra `draw`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOX_W, _BOX_H = 1.5, 0.6
"""Size of a node in inches."""
_MARGIN = 0.4
"""Around the picture, in inches."""


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """An edge: the points that it goes through, from centre to centre."""

    source: str
    target: str
    points: tuple[Point, ...]
    conditional: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the nodes in inches, y upward from the lower edge, and the edges between them."""

    centres: dict[str, Point]
    lines: tuple[Line, ...]


def without_handlers(graph: Any) -> Any:
    """The graph without LangGraph's nodes for errors, which no edge leads to."""
    for node in [node for name, node in graph.nodes.items() if "error_handler" in name]:
        graph.remove_node(node)
    return graph


def layout(graph: Any) -> Layout:
    """Layers from top to bottom (Sugiyama); an edge over several layers goes around the nodes between."""
    from grandalf.graphs import Edge, Graph, Vertex  # type: ignore[import-untyped]
    from grandalf.layouts import SugiyamaLayout  # type: ignore[import-untyped]

    vertices = {name: Vertex(name) for name in graph.nodes}
    links = [Edge(vertices[edge.source], vertices[edge.target]) for edge in graph.edges]
    for vertex in vertices.values():
        vertex.view = _Box()
    for link in links:
        link.view = _Path()
    sugiyama = SugiyamaLayout(Graph(list(vertices.values()), links).C[0])
    sugiyama.xspace, sugiyama.yspace, sugiyama.dw = _BOX_W / 4, _BOX_H, _BOX_W
    sugiyama.init_all(optimize=True)
    sugiyama.draw()
    points = [point for link in links for point in link.view.points]
    left, bottom = min(x for x, _ in points), max(y for _, y in points)

    def placed(point: Point) -> Point:
        return point[0] - left, bottom - point[1]

    lines = (
        Line(edge.source, edge.target, tuple(map(placed, link.view.points)), edge.conditional)
        for edge, link in zip(graph.edges, links, strict=True)
    )
    return Layout({name: placed(vertex.view.xy) for name, vertex in vertices.items()}, tuple(lines))


def write_png(graph: Any, path: Path) -> None:
    """Draw a graph; dashed arrows are routes that depend on what was found.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    placed = layout(graph)
    points = [point for line in placed.lines for point in line.points]
    width = max(x for x, _ in points) + _BOX_W + 2 * _MARGIN
    height = max(y for _, y in points) + _BOX_H + 2 * _MARGIN
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-_BOX_W / 2 - _MARGIN, width - _BOX_W / 2 - _MARGIN)
    axes.set_ylim(-_BOX_H / 2 - _MARGIN, height - _BOX_H / 2 - _MARGIN)
    axes.axis("off")
    boxes = {
        name: axes.text(
            *centre,
            name.strip("_"),
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#f2f0ff", "edgecolor": "#5b4fa0"},
        )
        for name, centre in placed.centres.items()
    }
    for line in placed.lines:
        _draw_line(axes, line, boxes)
    figure.savefig(path, format="png")


def _draw_line(axes: Any, line: Line, boxes: dict[str, Any]) -> None:
    style = {"linestyle": "--" if line.conditional else "-", "color": "#333333", "shrinkA": 0, "shrinkB": 0}
    stretches = list(zip(line.points, line.points[1:], strict=False))
    for number, (start, end) in enumerate(stretches):
        is_last = number == len(stretches) - 1
        arrow = {
            **style,
            "arrowstyle": "-|>" if is_last else "-",
            "patchA": boxes[line.source].get_bbox_patch() if number == 0 else None,
            "patchB": boxes[line.target].get_bbox_patch() if is_last else None,
        }
        axes.annotate("", xy=end, xytext=start, arrowprops=arrow)


class _Box:
    """What grandalf wants to know of a node: its size; and where it writes the centre, `xy`."""

    def __init__(self) -> None:
        self.w, self.h = _BOX_W, _BOX_H
        self.xy = (0.0, 0.0)


class _Path:
    """Where grandalf writes the course of an edge."""

    points: tuple[Point, ...] = ()

    def setpath(self, points: list[Point]) -> None:
        """Called by grandalf once the nodes have their places."""
        self.points = tuple(points)
