"""Known content for an agent's nodes: how much of an error is the type step's, the content step's, the answer's?

Each tool says for a question what the data say, in place of what a model found. Replace one node, keep the others, and
the difference between two runs is that node's share. What another tool would have said needs nothing from here: that
is `--tool asr=…`.

It cannot show what a better node would do: an oracle is perfect, and its wording is the data's, not a model's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.hints import did_you_mean
from lalm_agent.state import Task, Tool, ToolResult

TYPE_MODES = ("model", "oracle")
CONTENT_MODES = ("model", "oracle", "none", "other")
CONTENT_NODES = ("asr", "caption")


@dataclass(frozen=True, slots=True, eq=False)
class GivenText:
    """A tool that says a text fixed beforehand for each question, and hears nothing.

    name: what the run records: `oracle`, `none`, `other clip`. texts: by the question's id.
    """

    name: str
    texts: Mapping[str, str]

    def __call__(self, task: Task) -> ToolResult:
        """The text for the task's question.

        Raises:
            DataError: a question that was not among the items.
        """
        text = self.texts.get(task.question.id)
        if text is None:
            raise DataError(f"nothing is given for question {task.question.id!r}", "ask the questions of the data only")
        return ToolResult(text)


def given_tools(items: Sequence[Item], type_mode: str, content_mode: str, seed: int) -> dict[str, Tool]:
    """The tools that stand in for a model's, by node; no entry for a node that is left to its model.

    Args:
        items: every question that the run may ask, so that a larger `--limit` changes no other clip's content.
        type_mode: `model`, or `oracle`: the data's modality.
        content_mode: `model`; `oracle`: the item's reference content, whichever type was found; `none`: no text, so
            that the answering prompt has no first sentence; `other`: the reference content of another clip of the same
            modality, the same one for all questions about a clip, and each used once.
        seed: of the draw of other clips; the same items and seed give the same content, in whatever order they come.

    Raises:
        UsageError: an unknown mode; questions without a single modality or without content where the oracle needs
            them; a modality without enough different contents to give each clip another's.
    """
    for option, mode, modes in (("--type", type_mode, TYPE_MODES), ("--content", content_mode, CONTENT_MODES)):
        if mode not in modes:
            raise UsageError(f"unknown {option} {mode}", did_you_mean(mode, modes))
    tools: dict[str, Tool] = {}
    if type_mode == "oracle":
        tools["type"] = GivenText("oracle", _types(items))
    if content_mode != "model":
        tools |= dict.fromkeys(CONTENT_NODES, _content(items, content_mode, seed))
    return tools


def _types(items: Sequence[Item]) -> dict[str, str]:
    without = Counter(item.modality or "not said" for item in items if item.audio_type is None)
    if without:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(without.items()))
        raise UsageError(
            f"oracle type: {without.total()} of {len(items)} questions have no single modality ({kinds})",
            "choose with --modality sound --modality music --modality speech, or leave the type to the model",
        )
    return {item.id: str(item.audio_type).capitalize() for item in items}


def _content(items: Sequence[Item], mode: str, seed: int) -> Tool:
    if mode == "none":
        return GivenText("none", {item.id: "" for item in items})
    if lacking := sum(not _has_content(item) for item in items):
        raise UsageError(
            f"{mode} content: {lacking} of {len(items)} questions have no reference content",
            "give each row of the data a `content` (its transcript or caption), or use --content none",
        )
    if mode == "oracle":
        return GivenText("oracle", {item.id: item.content or "" for item in items})
    return GivenText("other clip", _of_other_clips(items, seed))


def _has_content(item: Item) -> bool:
    return bool(item.content and item.content.strip())


def _of_other_clips(items: Sequence[Item], seed: int) -> dict[str, str]:
    """For each question the content of another clip of its modality, never the same words."""
    clips: dict[str, dict[str, str]] = {}
    for item in sorted(items, key=lambda item: item.id):
        clips.setdefault(item.modality or "", {}).setdefault(item.audio, item.content or "")
    other = {modality: _deranged(own, modality, seed) for modality, own in clips.items()}
    return {item.id: other[item.modality or ""][item.audio] for item in items}


def _deranged(own: Mapping[str, str], modality: str, seed: int) -> dict[str, str]:
    """Clip -> content of another clip. Equal contents lie side by side; a step of their largest number leads out."""
    size = Counter(own.values()).most_common(1)[0][1]
    if 2 * size > len(own):
        raise UsageError(
            f"other content: {size} of {len(own)} {modality or 'unnamed'} clips have the same content",
            "more clips with other contents are needed to give each clip another's",
        )
    rng = Random(f"other clip {seed} {modality}")
    clips = rng.sample(sorted(own), len(own))
    place = {content: at for at, content in enumerate(dict.fromkeys(own[clip] for clip in clips))}
    clips.sort(key=lambda clip: place[own[clip]])
    return {clip: own[clips[(at + size) % len(clips)]] for at, clip in enumerate(clips)}
