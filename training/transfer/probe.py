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
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
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
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.runs.plan import order_key
from lalm_agent.graph import named_type
from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn
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
        if any(question.clip not in self.clips for question in self.questions.values()):
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
_CLIPS_A_CALL = 8


def probe_items(items: Sequence[Item], n: int) -> list[Item]:
    """At most n items for a probe, as many of each modality as there are: those that a probe can use.

    Questions with choices, a right answer, one of the three types and a reference content come in the order of asking
    (a hash of their id), so that a larger n adds to a smaller one.
    """
    usable = [item for item in sorted(items, key=order_key) if item.answerable and item.choices and _reference(item)]
    kinds = [[item for item in usable if item.audio_type is kind] for kind in AudioType]
    turns = [kind[place] for place in range(max(map(len, kinds), default=0)) for kind in kinds if place < len(kind)]
    return turns[:n]


def probe(
    model: LALM,
    items: Sequence[Item],
    root: Path,
    name: str = BEFORE,
    seen: Collection[str] = frozenset(),
    max_s: float = DEFAULT_MAX_AUDIO_S,
) -> ForgettingResult:
    """Ask a model about these items; the same items, in any order, give the same result.

    model: with the adapter on all its steps (`with_adapter`), or without any. root: folder that clips are named from.
    name: of the adapter. seen: sha256 of the clips that it was trained on, which are not asked about. max_s: longest
    clip that is accepted, in seconds.

    Raises:
        UsageError: no item has a right answer.
        DataError: a clip cannot be read.
        BackendError: the model cannot be asked, or gives no log-probabilities.
    """
    by_clip: dict[str, list[Item]] = {}
    for item in sorted(items, key=order_key):
        if item.answerable:
            by_clip.setdefault(item.audio, []).append(item)
    if not by_clip:
        raise UsageError("there is no question with a right answer to probe for forgetting", "give other data")
    groups = list(by_clip.values())
    questions: dict[str, ProbedQuestion] = {}
    clips: dict[str, ProbedClip] = {}
    excluded: list[str] = []
    for start in range(0, len(groups), _CLIPS_A_CALL):
        batch = [
            _Clip(load(audio_file(root, own[0].audio), max_s), own) for own in groups[start : start + _CLIPS_A_CALL]
        ]
        unseen = [clip for clip in batch if clip.sound.ref.sha256 not in seen]
        excluded += [item.id for clip in batch if clip not in unseen for item in clip.items]
        # All about a clip side by side, so that the engine hears it once.
        responses = iter(model.generate([request for clip in unseen for request in clip.requests()]) if unseen else ())
        for clip in unseen:
            clips.setdefault(clip.sound.ref.sha256, clip.steps(responses))
            questions |= {item.id: clip.question(item, next(responses)) for item in clip.items if item.choices}
    info, steps = model.spec.info, prompts.prompt_hashes(Method.AGENT)
    of_model = {field: getattr(info, field) for field in ProbedModel.model_fields if field != "dtype"}
    return ForgettingResult(
        name=name,
        model=ProbedModel(**of_model, dtype=model.spec.dtype),
        prompts={"type": steps["type"], "content": steps["content"]} | prompts.prompt_hashes(Method.BASELINE),
        max_new_tokens=MAX_NEW_TOKENS,
        scores={str(kind): score for kind, score in SCORES.items()},
        questions=dict(sorted(questions.items())),
        clips=dict(sorted(clips.items())),
        excluded=tuple(sorted(excluded)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A clip with the items about it, by id, all of one modality as the data say it."""

    sound: Sound
    items: list[Item]

    @property
    def reference(self) -> str | None:
        """The data's content, of the first item that has one."""
        return next(filter(None, map(_reference, self.items)), None)

    def requests(self) -> Iterator[Request]:
        """Of the two steps, as far as the data say a type and a content, and of each question's choice."""
        kind = self.items[0].audio_type
        if kind:
            yield Request((Turn("user", prompts.type_prompt()),), self.sound, Decoding(MAX_NEW_TOKENS))
        if kind and self.reference:
            yield Request((Turn("user", prompts.content_prompt(kind)),), self.sound, Decoding(MAX_NEW_TOKENS))
        for item in self.items:
            if item.choices:
                prompt = prompts.answer_prompt(Method.BASELINE, item.question.strip(), item.choices)
                refusals = (text for text in (prompts.IDK, *held_out_refusals()) if text not in item.choices)
                options = (*_options(item), *refusals)
                yield Request((Turn("user", prompt),), self.sound, Decoding(MAX_NEW_TOKENS), n=0, options=options)

    def steps(self, responses: Iterator[Response]) -> ProbedClip:
        """What the replies to the two steps say. Takes them from the responses."""
        right, reference = self.items[0].audio_type, self.reference
        named = next(responses).completions[0].text.strip() if right else None
        content = next(responses).completions[0].text.strip() if right and reference else None
        kind, score = named_type(named) if named is not None else None, None
        if reference is not None and content is not None:
            score = (word_score if right is AudioType.SPEECH else token_f1)(reference, content)
        return ProbedClip(
            sha256=self.sound.ref.sha256,
            modality=self.items[0].modality,
            type=None if kind is None else str(kind),
            type_right=None if named is None else kind is right,
            content=content,
            content_score=score,
        )

    def question(self, item: Item, response: Response) -> ProbedQuestion:
        """The forced choice. Raises PermanentBackendError where the model gives no log-probabilities."""
        scores, choices = response.option_scores, _options(item)
        if scores is None:
            raise PermanentBackendError(
                "this model gives no log-probabilities to score choices with",
                "forgetting is probed on checkpoints only",
            )
        best = max(scores[: len(choices)], key=lambda score: score.mean_logprob)
        likelier = {score.text: score.mean_logprob > best.mean_logprob for score in scores[len(choices) :]}
        return ProbedQuestion(
            id=item.id,
            clip=self.sound.ref.sha256,
            modality=item.modality,
            chosen=best.text,
            right=outcome_of(item, best.text) is Outcome.CORRECT,
            chance=1 / len(choices),
            idk=likelier.pop(prompts.IDK, None),
            held_out_idk=any(likelier.values()) if likelier else None,
        )


def _reference(item: Item) -> str | None:
    return item.content if item.content and item.content.strip() else None


def _options(item: Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choice for choice in item.choices if choice.strip()))


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
    expected, said = (Counter(word for word in words(text) if word not in _ARTICLES) for text in (reference, reply))
    return 2 * (expected & said).total() / (expected.total() + said.total()) if expected else None


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
