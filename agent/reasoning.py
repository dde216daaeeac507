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
_CHANNEL_NOISE = re.compile(r"<\|(?:end|return|start)\|>.*\Z", re.DOTALL)


def strip_reasoning(text: str) -> str:
    """The reply without its hidden reasoning; a reply without such a block comes back as it is.

    A block that never ends takes the rest of the reply with it; text before its opening tag stays. At a closing tag
    without an opening one (the chat template wrote that into the prompt), all that stands before it is reasoning. Of a
    reply in gpt-oss's channels the final one is the reply. Takes time linear in the length of the text.
    """
    if _FINAL_CHANNEL in text:
        return _CHANNEL_NOISE.sub("", text.rpartition(_FINAL_CHANNEL)[2]).strip()
    if text.lstrip().startswith("<|channel|>analysis"):
        return ""
    kept: list[str] = []
    start, inside = 0, False
    for tag in _TAG.finditer(text):
        if not any(tag.groups()):
            if not inside:
                kept.append(text[start : tag.start()])
            inside = True
            continue
        if not inside:
            kept.clear()
        start, inside = tag.end(), False
    if start == 0 and not inside:
        return text
    if not inside:
        kept.append(text[start:])
    return "".join(kept).strip()
