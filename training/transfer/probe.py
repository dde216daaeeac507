"""Asks a model what an adapter may have cost it: forced choices without IDK, the type step, the content step.

- Forced choice: the likeliest choice under the baseline's prompt, by log-probability per token (as for the confidence:
  `lalm_agent.models.base.OptionScore`). IDK is not to be chosen, so a model that learned to refuse still shows what it
  knows.
- Refusal: whether `IDK`, and whether one of the wordings that no set is built with, is likelier than that choice. Where
  only the first became likelier, a wording was learned.
- Type: the agent's first prompt, greedy, read as the agent reads it.
- Content: the agent's second prompt with the data's type, greedy, scored against the item's reference content by the
  word error rate for speech and by token F1 for captions. Synonyms are other words to both, so a score says how a
  model's wording moved and not how well it hears.

The two steps are asked once a clip. Questions without a right answer are left out: their clips may be silence or noise.
An open question has no forced choice, a clip of mixed modality no type and no content.
"""

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from lalm_agent import prompts
from lalm_agent.artefacts import Record, read_record, write_record
from lalm_agent.audio import Sound, load
from lalm_agent.config import DEFAULT_MAX_AUDIO_S
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.eval.grade import Outcome, outcome_of
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.eval.runs.plan import order_key
from lalm_agent.graph import named_type
from lalm_agent.models.base import LALM, Decoding, ModelSpec, Request, Response, Turn
from lalm_agent.prompts.refusing import held_out_refusals
from lalm_agent.records import AudioType, Method

# --- the file of a probe ----------------------------------------------------------------------------------------------


SCHEMA = 1


class ProbedQuestion(Record):
    """The forced choice of one question.

    clip: sha256 of its clip. chosen: the likeliest choice; right: whether it is the right one. chance: what guessing
    gets, 1 over the number of distinct choices.
    idk, held_out_idk: whether `IDK`, and whether one of the refusals that no set is built with, is likelier than that
    choice; None in a file that was written before these were asked.
    """

    id: str
    clip: str
    modality: str | None
    chosen: str
    right: bool
    chance: float
    idk: bool | None = None
    held_out_idk: bool | None = None


class ProbedClip(Record):
    """The agent's first two steps about one clip.

    type: what was found; None where no single type was named. type_right: None where the data do not say the type.
    content: the model's words; content_score: in [0, 1]; both None where the data have no reference.
    """

    sha256: str
    modality: str | None
    type: str | None
    type_right: bool | None
    content: str | None
    content_score: float | None


class ProbedModel(Record):
    """Who was asked: `lalm_agent.records.ModelInfo`, with the precision."""

    ref: str
    revision: str | None
    weights_sha256: str | None
    adapter_sha256: str | None
    dtype: str


class ForgettingResult(Record):
    """A probe of one model, with an adapter on all its steps or without.

    name: of the adapter, `before` without one. prompts: sha256 of each prompt with its slots left open.
    scores: modality -> the name of its content score.
    questions, clips: by id and by sha256. excluded: ids of questions about clips that the adapter was trained on.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str
    model: ProbedModel
    prompts: dict[str, str]
    max_new_tokens: int
    scores: dict[str, str]
    questions: dict[str, ProbedQuestion]
    clips: dict[str, ProbedClip]
    excluded: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _clips_are_there(self) -> Self:
        if any(one.clip not in self.clips for one in self.questions.values()):
            raise ValueError("a question's clip is not among the clips")
        return self


def write_result(path: Path, result: ForgettingResult) -> None:
    """Write a probe whole; its folder is made where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be made: {error.strerror or error}", "another folder") from error
    write_record(path, result)


def read_result(path: Path) -> ForgettingResult:
    """Read a probe.

    Raises:
        DataError: it is missing, damaged, or of a newer version.
    """
    return read_record(path, ForgettingResult, "it is no whole probe: remove it and probe again")


# --- asking -----------------------------------------------------------------------------------------------------------


BEFORE = "before"
"""Name of the probe of the model without an adapter."""
SCORES = {AudioType.SOUND: "token F1", AudioType.MUSIC: "token F1", AudioType.SPEECH: "1 - min(1, WER)"}
MAX_NEW_TOKENS = 128
"""Room for a transcript of the 30 s that a model hears; a reply is cut off there."""

ClipOf = Callable[[Item], Sound]
Say = Callable[[str], None]

_CLIPS_A_CALL = 8
_SPEAK_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Probed:
    """Whose probe it is.

    name: of the adapter that the model has on. seen: sha256 of the clips that it was trained on, which are not asked
    about (`lalm_agent.eval.runs.controls.trained_clips`).
    """

    name: str = BEFORE
    seen: Collection[str] = frozenset()


def sounds_under(root: Path, max_s: float = DEFAULT_MAX_AUDIO_S) -> ClipOf:
    """The clips of a benchmark, decoded from under its audio root. Raises DataError as `audio.load` does."""
    return lambda item: load(audio_file(root, item.audio), max_s)


def probe_items(items: Sequence[Item], n: int) -> list[Item]:
    """At most n items for a probe, as many of each modality as there are: those that a probe can use.

    Questions with choices, a right answer, one of the three types and a reference content come in the order of asking
    (a hash of their id), so that a larger n adds to a smaller one.
    """
    usable = [item for item in sorted(items, key=order_key) if _is_usable(item)]
    kinds = [[item for item in usable if item.audio_type is kind] for kind in AudioType]
    turns = [kind[place] for place in range(max(map(len, kinds), default=0)) for kind in kinds if place < len(kind)]
    return turns[:n]


def probe(
    model: LALM, items: Sequence[Item], clip_of: ClipOf, say: Say, probed: Probed | None = None
) -> ForgettingResult:
    """Ask a model about these items; the same items, in any order, give the same result.

    model: with the adapter on all its steps (`with_adapter`), or without any. clip_of: is called once for each clip
    that the items name; its clips are dropped as soon as they were asked about.

    Raises:
        UsageError: no item has a right answer.
        DataError: a clip cannot be read.
        BackendError: the model cannot be asked, or gives no log-probabilities.
    """
    probed = probed or Probed()
    asked = [item for item in items if item.answerable]
    if not asked:
        raise UsageError("there is no question with a right answer to probe for forgetting", "give other data")
    questions: dict[str, ProbedQuestion] = {}
    clips: dict[str, ProbedClip] = {}
    excluded: list[str] = []
    spoke = time.monotonic()
    for batch in _in_batches(asked, clip_of):
        unseen = [clip for clip in batch if clip.sound.ref.sha256 not in probed.seen]
        excluded += [item.id for clip in batch if clip not in unseen for item in clip.items]
        found, steps = _ask(model, unseen)
        questions |= found
        clips = {**steps, **clips}
        if time.monotonic() - spoke > _SPEAK_EVERY_S:
            spoke = time.monotonic()
            say(f"forgetting, {probed.name}: {len(questions) + len(excluded)} of {len(asked)} questions")
    return ForgettingResult(
        name=probed.name,
        model=_shown(model.spec),
        prompts=_prompts(),
        max_new_tokens=MAX_NEW_TOKENS,
        scores={str(kind): name for kind, name in SCORES.items()},
        questions=dict(sorted(questions.items())),
        clips=dict(sorted(clips.items())),
        excluded=tuple(sorted(excluded)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A clip with the items about it, by id, all of one modality as the data say it."""

    sound: Sound
    items: tuple[Item, ...]

    @property
    def reference(self) -> str | None:
        """The data's content, of the first item that has one."""
        return next((item.content for item in self.items if item.content and item.content.strip()), None)


def _is_usable(item: Item) -> bool:
    return item.answerable and bool(item.choices and item.audio_type and item.content and item.content.strip())


def _in_batches(items: Sequence[Item], clip_of: ClipOf) -> Iterator[list[_Clip]]:
    names: dict[str, list[Item]] = {}
    for item in sorted(items, key=order_key):
        names.setdefault(item.audio, []).append(item)
    ordered = list(names.values())
    for start in range(0, len(ordered), _CLIPS_A_CALL):
        yield [_Clip(clip_of(group[0]), tuple(group)) for group in ordered[start : start + _CLIPS_A_CALL]]


def _ask(model: LALM, clips: Sequence[_Clip]) -> tuple[dict[str, ProbedQuestion], dict[str, ProbedClip]]:
    """What a model says of some clips: by question's id, and by clip's sha256."""
    # All about a clip side by side, so that the engine hears it once.
    requests = [_requests(clip) for clip in clips]
    responses = iter(model.generate([request for group in requests for request in group]) if clips else ())
    questions: dict[str, ProbedQuestion] = {}
    found: dict[str, ProbedClip] = {}
    for clip in clips:
        kind = clip.items[0].audio_type
        named = _text(next(responses)) if kind else None
        content = _text(next(responses)) if kind and clip.reference else None
        questions |= {item.id: _question(item, clip, next(responses)) for item in clip.items if item.choices}
        found.setdefault(clip.sound.ref.sha256, _clip(clip, named, content))
    return questions, found


def _requests(clip: _Clip) -> list[Request]:
    kind = clip.items[0].audio_type
    texts = [prompts.type_prompt()] if kind else []
    texts += [prompts.content_prompt(kind)] if kind and clip.reference else []
    written = [Request((Turn("user", text),), clip.sound, Decoding(MAX_NEW_TOKENS)) for text in texts]
    return written + [_choice(item, clip.sound) for item in clip.items if item.choices]


def _choice(item: Item, sound: Sound) -> Request:
    prompt = prompts.answer_prompt(Method.BASELINE, item.question.strip(), item.choices)
    options = _options(item) + _refusals(item)
    return Request((Turn("user", prompt),), sound, Decoding(MAX_NEW_TOKENS), n=0, options=options)


def _refusals(item: Item) -> tuple[str, ...]:
    """Those that are no choice of the question."""
    return tuple(wording for wording in (prompts.IDK, *held_out_refusals()) if wording not in item.choices)


def _options(item: Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choice for choice in item.choices if choice.strip()))


def _question(item: Item, clip: _Clip, response: Response) -> ProbedQuestion:
    scores = response.option_scores
    if scores is None:
        raise PermanentBackendError(
            "this model gives no log-probabilities to score choices with", "forgetting is probed on checkpoints only"
        )
    choices = _options(item)
    best = max(scores[: len(choices)], key=lambda score: score.mean_logprob)
    beaten = {score.text: score.mean_logprob > best.mean_logprob for score in scores[len(choices) :]}
    return ProbedQuestion(
        id=item.id,
        clip=clip.sound.ref.sha256,
        modality=item.modality,
        chosen=best.text,
        right=outcome_of(item, best.text) is Outcome.CORRECT,
        chance=1 / len(choices),
        idk=beaten.pop(prompts.IDK, None),
        held_out_idk=any(beaten.values()) if beaten else None,
    )


def _clip(clip: _Clip, named: str | None, content: str | None) -> ProbedClip:
    item, kind = clip.items[0], None if named is None else named_type(named)
    return ProbedClip(
        sha256=clip.sound.ref.sha256,
        modality=item.modality,
        type=None if kind is None else str(kind),
        type_right=None if named is None else kind is item.audio_type,
        content=content,
        content_score=_content_score(item.audio_type, clip.reference, content),
    )


def _content_score(kind: AudioType | None, reference: str | None, said: str | None) -> float | None:
    if reference is None or said is None:
        return None
    return word_score(reference, said) if kind is AudioType.SPEECH else token_f1(reference, said)


def _text(response: Response) -> str:
    return response.completions[0].text.strip()


def _shown(spec: ModelSpec) -> ProbedModel:
    info = spec.info
    return ProbedModel(
        ref=info.ref,
        revision=info.revision,
        weights_sha256=info.weights_sha256,
        adapter_sha256=info.adapter_sha256,
        dtype=spec.dtype,
    )


def _prompts() -> dict[str, str]:
    steps = prompts.prompt_hashes(Method.AGENT)
    return {"type": steps["type"], "content": steps["content"]} | prompts.prompt_hashes(Method.BASELINE)


# --- scores of contents -----------------------------------------------------------------------------------------------


_WORDS = re.compile(r"\w+(?:'\w+)*")
_ARTICLES = frozenset({"a", "an", "the"})


def word_score(reference: str, reply: str) -> float | None:
    """1 - min(1, WER), in [0, 1]; None where the reference has no words.

    WER is the word error rate of speech recognition: the least number of substituted, deleted and inserted words over
    the number of words of the reference (NIST SCTK's definition). It may exceed 1, and is cut there so that a mean is
    not that of a few replies that ran on.
    """
    spoken = words(reference)
    return 1 - min(1.0, word_edits(spoken, words(reply)) / len(spoken)) if spoken else None


def token_f1(reference: str, reply: str) -> float | None:
    """F1 of the words in common, as SQuAD counts them (arXiv 1606.05250, section 6.1); None without a reference.

    Precision and recall are over words with their multiplicity; articles do not count.
    """
    wanted, said = (_counted(text) for text in (reference, reply))
    if not wanted:
        return None
    common = (wanted & said).total()
    return 2 * common / (wanted.total() + said.total())


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    straight = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return _WORDS.findall(straight.casefold())


def word_edits(reference: Sequence[str], said: Sequence[str]) -> int:
    """The least number of substitutions, deletions and insertions between two sequences of words (Levenshtein)."""
    row = list(range(len(said) + 1))
    for deleted, word in enumerate(reference, 1):
        before, row = row, [deleted]
        for place, other in enumerate(said):
            row.append(min(before[place] + (word != other), before[place + 1] + 1, row[place] + 1))
    return row[-1]


def _counted(text: str) -> Counter[str]:
    return Counter(word for word in words(text) if word not in _ARTICLES)


# --- clips in common --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overlap:
    """Clips of the evaluation data, those that are in a bank too, and one of them by name; questions about these."""

    clips: int
    shared: int
    questions: int
    example: str | None


def overlap(benchmark: Benchmark, bank_clips: Collection[str], max_s: float) -> Overlap:
    """Decode each clip once and look for it. A clip that cannot be read is none of the bank's: nobody hears it.

    bank_clips: sha256 over the decoded samples. max_s: longest clip that is accepted, in seconds.
    """
    names = dict.fromkeys(item.audio for item in benchmark.items)
    shared = [name for name in names if _hash(benchmark.audio_root or Path(), name, max_s) in bank_clips]
    found = set(shared)
    questions = sum(item.audio in found for item in benchmark.items)
    return Overlap(len(names), len(shared), questions, shared[0] if shared else None)


def _hash(root: Path, name: str, max_s: float) -> str | None:
    try:
        return load(audio_file(root, name), max_s).ref.sha256
    except DataError:
        return None
