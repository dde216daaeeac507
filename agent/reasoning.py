"""Hidden reasoning in a model's reply: what a thinking model writes for itself before, or between, its answer."""

import re

# Not <Reasoning>: prompts ask for it, and what it says is part of the reply.
_NAMES = "think|thinking|thoughts?"
# <think>, </think>, <seed:think budget="5">, [THINK] (Magistral), the triangles of Kimi, Sky-T1.
_TAG = re.compile(
    rf"<\|?\s{{0,9}}(/?)\s{{0,9}}(?:\w{{1,20}}:)?(?:{_NAMES})(?:\s[^<>]{{0,200}})?\|?>|\[(/?)THINK\]|◁(/?)think▷|"
    r"<\|(?:begin|(end))_of_thought\|>",
    re.IGNORECASE,
)
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_CHANNEL_MARK = re.compile(
    r"(?:<\|start\|>\w{0,20})?<\|channel\|>\w{0,20}(?:<\|message\|>)?|<\|(?:end|return|start)\|>"
)
_CHANNEL_NOISE = re.compile(r"<\|(?:end|return|start)\|>.*\Z", re.DOTALL)


def strip_reasoning(text: str) -> str:
    """The reply without its hidden reasoning; a reply without such a block comes back as it is."""
    return split_reasoning(text)[1]


def split_reasoning(text: str) -> tuple[str, str]:
    """Hidden reasoning, and the reply without it; a reply without such a block comes back as it is, after "".

    A block that never ends takes the rest of the reply with it; text before its opening tag stays. At a closing tag
    without an opening one (the chat template wrote that into the prompt), all that stands before it is reasoning. Of a
    reply in gpt-oss's channels the final one is the reply. Takes time linear in the length of the text.
    """
    if _FINAL_CHANNEL in text:
        before, _, final = text.rpartition(_FINAL_CHANNEL)
        return _CHANNEL_MARK.sub("\n", before).strip(), _CHANNEL_NOISE.sub("", final).strip()
    if text.lstrip().startswith("<|channel|>analysis"):
        return _CHANNEL_MARK.sub("\n", text).strip(), ""
    hidden: list[str] = []
    kept: list[str] = []
    start, inside = 0, False
    for tag in _TAG.finditer(text):
        closes = any(tag.groups())
        if closes and not inside:
            hidden += kept
            kept.clear()
        (hidden if inside or closes else kept).append(text[start : tag.start()])
        start, inside = tag.end(), not closes
    if not start:
        return "", text
    (hidden if inside else kept).append(text[start:])
    return "\n".join(filter(None, map(str.strip, hidden))), "".join(kept).strip()
