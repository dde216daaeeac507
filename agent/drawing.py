"""A picture of a method's graph: laid out by grandalf and drawn by matplotlib, both local; see the extra `draw`.

Sizes are in inches.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

from lalm_agent.audio import ClipStore
from lalm_agent.graph import Context, build_graph
from lalm_agent.records import Method

_BOX_W, _BOX_H = 1.5, 0.6
_MARGIN = 0.4

Point = tuple[float, float]


def drawable_graph(method: Method) -> Any:
    """The graph of a method without LangGraph's nodes for errors, which no edge leads to."""
    drawable = build_graph(method, Context({}, ClipStore())).get_graph()
    for node in [node for name, node in drawable.nodes.items() if "error_handler" in name]:
        drawable.remove_node(node)
    return drawable


class _Placed:
    """What grandalf reads and writes: the size `w`, `h` and centre `xy` of a node, the points of an edge."""

    def __init__(self) -> None:
        self.w, self.h = _BOX_W, _BOX_H
        self.xy = (0.0, 0.0)
        self.points: list[Point] = []

    def setpath(self, points: list[Point]) -> None:
        self.points = list(points)


def layout(graph: Any) -> tuple[dict[str, Point], list[list[Point]]]:
    """Centres of the nodes in inches, y upward from the lower edge, and the points of each edge, from centre to centre.

    Layers from top to bottom (Sugiyama); an edge over several layers goes around the nodes between.
    """
    from grandalf.graphs import Edge, Graph, Vertex  # type: ignore[import-untyped]
    from grandalf.layouts import SugiyamaLayout  # type: ignore[import-untyped]

    vertices = {name: Vertex(name) for name in graph.nodes}
    edges = [Edge(vertices[edge.source], vertices[edge.target]) for edge in graph.edges]
    for part in (*vertices.values(), *edges):
        part.view = _Placed()
    sugiyama = SugiyamaLayout(Graph(list(vertices.values()), edges).C[0])
    sugiyama.xspace, sugiyama.yspace, sugiyama.dw = _BOX_W / 4, _BOX_H, _BOX_W
    sugiyama.init_all(optimize=True)
    sugiyama.draw()
    points = [point for edge in edges for point in edge.view.points]
    left, bottom = min(x for x, _ in points), max(y for _, y in points)
    centres = {name: (vertex.view.xy[0] - left, bottom - vertex.view.xy[1]) for name, vertex in vertices.items()}
    return centres, [[(x - left, bottom - y) for x, y in edge.view.points] for edge in edges]


def write_png(graph: Any, path: Path) -> None:
    """Draw a graph; dashed arrows are routes that depend on what a node said.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    centres, paths = layout(graph)
    width = max(x for points in paths for x, _ in points) + _BOX_W + 2 * _MARGIN
    height = max(y for points in paths for _, y in points) + _BOX_H + 2 * _MARGIN
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-_BOX_W / 2 - _MARGIN, width - _BOX_W / 2 - _MARGIN)
    axes.set_ylim(-_BOX_H / 2 - _MARGIN, height - _BOX_H / 2 - _MARGIN)
    axes.axis("off")
    style = {"boxstyle": "round,pad=0.5", "facecolor": "#f2f0ff", "edgecolor": "#5b4fa0"}
    boxes = {
        name: axes.text(*centre, name.strip("_"), ha="center", va="center", bbox=style).get_bbox_patch()
        for name, centre in centres.items()
    }
    for edge, points in zip(graph.edges, paths, strict=True):
        for number, (start, end) in enumerate(pairwise(points)):
            is_last = number == len(points) - 2
            arrow = {
                "linestyle": "--" if edge.conditional else "-",
                "color": "#333333",
                "shrinkA": 0,
                "shrinkB": 0,
                "arrowstyle": "-|>" if is_last else "-",
                "patchA": boxes[edge.source] if number == 0 else None,
                "patchB": boxes[edge.target] if is_last else None,
            }
            axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    figure.savefig(path, format="png")
