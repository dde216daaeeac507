"""What replaces a clip, what replaces a node's own work, and which clips a run may not ask about.

Blind controls show what a model scores when it cannot hear the clip that it is asked about. `silence`: digital silence
of the clip's own length, rate and channels. `swap`: the clip of another question, any other of the data set and of any
modality; the assignment is a cycle over the clips in a seeded order, so each clip is heard once, and one with the same
content under another name is passed over.

Node attribution puts what the data say in the place of what a node says: replace one node, keep the others, and the
difference between two runs is that node's share. What another tool would have said is `--tool asr=…`. It cannot show
what a better node would do: an oracle is perfect, and its wording is the data's, not a model's.

Questions about clips that a model knows from its training are no test of it. Those of an adapter are asked and left
out of the figures; those of the pretraining are refused.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np

from lalm_agent.artefacts import StorageError
from lalm_agent.audio import load
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.runs.records import ClipFile
from lalm_agent.records import AudioRef
from lalm_agent.registry import Task, Tool, ToolResult

_KEPT_REFS = 65536
CONTENT_NODES = ("asr", "caption")
FILE_NAME = "trained_clips.json"
"""In an adapter's folder: `{"audio_sha256": [...]}`, over the decoded samples (`lalm_agent.audio.sha256`)."""
_SHOWN, _SHA256_DIGITS = 3, 64
ClipOf = Callable[[Item], ClipFile]
"""The file that a question is asked about. Raises DataError where the question's own clip cannot be used."""


# --- blind controls --------------------------------------------------------------------------------------------------


def own_clips(root: Path) -> ClipOf:
    """No control: each question is asked about its own clip under the audio root."""

    def clip_of(item: Item) -> ClipFile:
        first, *more = (str(audio_file(root, audio)) for audio in item.audios)
        return ClipFile(first, more=tuple(more))

    return clip_of


def silent_clips(root: Path, folder: Path, max_s: float) -> ClipOf:
    """Digital silence as long as the question's own clip; one file in `folder` for each length, rate and channels.

    max_s: longest clip that is accepted, in seconds. The function raises StorageError where it cannot write.
    """
    writing = threading.Lock()

    def clip_of(item: Item) -> ClipFile:
        sound = load(audio_file(root, item.audio), max_s)
        own = sound.ref
        n = round(own.seconds * own.rate)
        path = folder / f"{n}x{own.channels}-{own.rate}.flac"
        with writing:
            if not path.exists():
                _write_silence(path, n, own.channels, own.rate)
        return ClipFile(str(path), None, own.sha256, sound.mixing.sha256)

    return clip_of


def _write_silence(path: Path, n: int, channels: int, rate: int) -> None:
    import soundfile

    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(exist_ok=True)
        beside.unlink(missing_ok=True)
        soundfile.write(beside, np.zeros((n, channels), np.int16), rate, format="FLAC", subtype="PCM_16")
        beside.replace(path)
    except (OSError, soundfile.LibsndfileError) as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}", "free space, or choose --audio swap") from error


def swapped_clips(root: Path, items: Sequence[Item], missing: frozenset[str], seed: int, max_s: float) -> ClipOf:
    """Another question's clip: the next one of the cycle that is another recording and can be read.

    items: all questions of the data set, so that the assignment does not depend on a limit.
    missing: clips that are not there, by name; they take no part.

    Raises UsageError where the data set has a single clip.
    """

    def key(name: str) -> bytes:
        return hashlib.sha256(f"swap\0{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()

    names = sorted({item.audio for item in items} - missing, key=key)
    if len(names) < 2:
        raise UsageError("--audio swap needs at least two clips", "choose --audio silence")
    place = {name: at for at, name in enumerate(names)}

    @lru_cache(_KEPT_REFS)
    def ref_of(name: str) -> tuple[AudioRef, str]:
        sound = load(audio_file(root, name), max_s)
        return sound.ref, sound.mixing.sha256

    def clip_of(item: Item) -> ClipFile:
        own, own_mix = ref_of(item.audio)
        for step in range(1, len(names)):
            name = names[(place[item.audio] + step) % len(names)]
            try:
                other, _ = ref_of(name)
            except DataError:
                continue
            if other.sha256 != own.sha256:
                return ClipFile(other.path, name, own.sha256, own_mix)
        raise DataError(f"no other recording than {item.audio!r} can be read", "choose --audio silence")

    return clip_of


# --- node attribution -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FixedText:
    """A tool that says a text fixed beforehand for each question, and hears nothing.

    name: what the run records: `oracle`, `none`, `other clip`. texts: by the question's id.
    """

    name: str
    texts: Mapping[str, str]

    def __call__(self, task: Task) -> ToolResult:
        """The text for the task's question. Raises DataError for a question that was not among the items."""
        text = self.texts.get(task.question.id)
        if text is None:
            raise DataError(f"nothing is given for question {task.question.id!r}", "ask the questions of the data only")
        return ToolResult(text)


def fixed_tools(items: Sequence[Item], type_mode: str, content_mode: str, seed: int) -> dict[str, Tool]:
    """The tools that replace a model's, by node; no entry for a node that is left to its model.

    Args:
        items: every question that the run may ask, so that a larger `--limit` changes no other clip's content.
        type_mode: `model`, or `oracle`: the data's modality.
        content_mode: `model`; `oracle`: the item's reference content, whichever type was found; `none`: no text, so
            that the answering prompt has no first sentence; `other`: the reference content of another clip of the same
            modality, the same one for all questions about a clip, and each used once.
        seed: of the draw of other clips; the same items and seed give the same content, in whatever order they come.

    Raises UsageError where the oracle needs a single modality or a content that questions lack, and where a modality
    has too few different contents to give each clip another's.
    """
    tools: dict[str, Tool] = {}
    if type_mode == "oracle":
        if without := Counter(item.modality or "not said" for item in items if item.audio_type is None):
            kinds = ", ".join(f"{name} {count}" for name, count in sorted(without.items()))
            raise UsageError(
                f"oracle type: {without.total()} of {len(items)} questions have no single modality ({kinds})",
                "choose with --modality sound --modality music --modality speech, or leave the type to the model",
            )
        tools["type"] = FixedText("oracle", {item.id: str(item.audio_type).capitalize() for item in items})
    if content_mode != "model":
        tools |= dict.fromkeys(CONTENT_NODES, _content(items, content_mode, seed))
    return tools


def _content(items: Sequence[Item], mode: str, seed: int) -> Tool:
    if mode == "none":
        return FixedText("none", {item.id: "" for item in items})
    if lacking := sum(not (item.content or "").strip() for item in items):
        raise UsageError(
            f"{mode} content: {lacking} of {len(items)} questions have no reference content",
            "give each row of the data a `content` (its transcript or caption), or use --content none",
        )
    if mode == "oracle":
        return FixedText("oracle", {item.id: item.content or "" for item in items})
    clips: dict[str, dict[str, str]] = {}
    for item in sorted(items, key=lambda item: item.id):
        clips.setdefault(item.modality or "", {}).setdefault(item.audio, item.content or "")
    other = {modality: _deranged(own, modality, seed) for modality, own in clips.items()}
    return FixedText("other clip", {item.id: other[item.modality or ""][item.audio] for item in items})


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


# --- clips of the training --------------------------------------------------------------------------------------------


class PretrainedError(UsageError):
    """A clip is among those that the model was pretrained on."""

    def __init__(self, clips: Sequence[str], n: int, model: str, what: str) -> None:
        """clips: those of the pretraining, by name or hash, among the `n` of `what`, such as a file or the data."""
        names = [name[:12] if len(name) == _SHA256_DIGITS else name for name in clips[:_SHOWN]]
        shown = ", ".join(names) + (", …" if len(clips) > _SHOWN else "")
        super().__init__(
            f"{len(clips)} of the {n} clips of {what} were used in the pretraining of {model}: {shown}",
            "use other clips (data synth with --split dev or test makes some), or leave these out",
        )


def refuse_pretrained(pretrained: Container[str], sha256: Iterable[str | None], model: str, what: str) -> None:
    """Raise PretrainedError, with their number, where a model was pretrained on some of the clips.

    pretrained: `lalm_agent.models.pretrained_clips.pretrained_clips_of(model)`. sha256: of the clips that are to be
    used, over the decoded samples; None where one is not known. what: holds them, for the message.
    """
    used = {clip for clip in sha256 if clip is not None}
    if clips := sorted(clip for clip in used if clip in pretrained):
        raise PretrainedError(clips, len(used), model, what)


def trained_clips(adapter: str | None) -> frozenset[str]:
    """The sha256 of the clips that an adapter was trained on; none for one that does not say, or without one.

    Raises DataError where its list is not of that form.
    """
    path = Path(adapter or "") / FILE_NAME
    if adapter is None or not path.is_file():
        return frozenset()
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["audio_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}", "mend or remove it") from error
    if not isinstance(hashes, list) or not all(isinstance(clip, str) for clip in hashes):
        raise DataError(f"{path} has no list of texts under audio_sha256", "mend or remove it")
    return frozenset(hashes)
