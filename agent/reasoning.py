"""Hidden reasoning: what a thinking model writes before its reply, for nobody's eyes.

It is taken off where a model's reply enters a graph or the reader; the raw text stays in the trace.
"""

import re

_TAG = re.compile(r"<\s*(/?)\s*(?:think|thinking|thought|seed:think)\s*>", re.IGNORECASE)


def strip_reasoning(text: str) -> str:
    """The text without its blocks of hidden reasoning, in time linear in its length.

    A block that never ends takes the rest of the text with it. A closing tag without an opening one ends reasoning
    that began before the text did: chat templates often write the opening tag themselves.
    """
    kept: list[str] = []
    at, inside = 0, False
    for tag in _TAG.finditer(text):
        if tag[1]:
            kept = kept if inside else []
            at, inside = tag.end(), False
        elif not inside:
            kept.append(text[at : tag.start()])
            inside = True
    if not at and not inside:
        return text
    return "".join(kept if inside else [*kept, text[at:]]).strip()
