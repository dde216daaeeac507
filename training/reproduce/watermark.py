"""A text across a picture, so that it cannot be taken for what it is not."""

import re
from xml.sax.saxutils import escape

_SIZE = re.compile(r'viewBox="\s*([-\d.]+)[\s,]+([-\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)\s*"')
_END = "</svg>"


def watermarked(svg: str, words: str) -> str:
    """An SVG picture with the words across it.

    Raises:
        ValueError: it is no SVG with a viewBox.
    """
    found = _SIZE.search(svg)
    end = svg.rfind(_END)
    if found is None or end < 0:
        raise ValueError("a watermark needs an SVG with a viewBox")
    left, top, width, height = map(float, found.groups())
    x, y = left + width / 2, top + height / 2
    size = min(1.5 * width / max(len(words), 1), height / 4)
    text = (
        f'<text x="{x:g}" y="{y:g}" transform="rotate(-20 {x:g} {y:g})" text-anchor="middle" '
        f'font-family="sans-serif" font-weight="bold" font-size="{size:g}" fill="#c00000" fill-opacity="0.45">'
        f"{escape(words)}</text>\n"
    )
    return svg[:end] + text + svg[end:]
