"""Scorers that ask a language model: the paper's normaliser and SAKURA's judge.

Neither hears the clip. A missing reply is `failed` and an empty one `unparsed`, and neither is asked about. Open
questions have no options to select from, so both leave them to the parser, with `open:` before the rule. A model that
fails, or that says nothing, makes its question `failed` and never wrong: the next call asks again.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lalm_agent.answers import parse
from lalm_agent.errors import BackendError, PermanentBackendError
from lalm_agent.eval.grade import JUDGE_FAILED, NORMALISER_FAILED, Grade, Outcome, grade, outcome_of, unanswered
from lalm_agent.eval.items import Item
from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn
from lalm_agent.models.wrappers import ReplyCache, key_of
from lalm_agent.prompts import IDK
from lalm_agent.prompts.judging import judge_prompt, normaliser_prompt
from lalm_agent.reasoning import strip_reasoning
from lalm_agent.records import AbstentionKind, Status

Progress = Callable[[int, int], None]
"""Called with how many of the prompts to be asked are done, and how many there are."""

CHUNK = 32
"""Prompts in one `generate` call: enough for an endpoint's concurrency, few enough to lose little by a kill."""
GIVE_UP_AFTER = 5
"""Failures in a row, each of one prompt alone, after which the model counts as dead."""


@dataclass(frozen=True, slots=True)
class TextReplies:
    """What came of a call.

    replies: in the order of the prompts; None where the request failed or was given up.
    asked: how many different prompts went out; the others were kept ones.
    error: the first failure, for whoever has to mend it; None where there was none.
    """

    replies: tuple[str | None, ...]
    asked: int
    error: BackendError | None


class TextAsker:
    """Asks one model greedily. A reply is kept as the model wrote it and handed out without its `<think>` block.

    Args:
        model: the model; a request has no clip.
        max_new_tokens: the limit of a reply.
        cache: a folder for the replies, which processes may share; None keeps them as long as this object.
        progress: told after every chunk.
    """

    def __init__(
        self, model: LALM, max_new_tokens: int, cache: Path | None = None, progress: Progress | None = None
    ) -> None:
        self._model = model
        self._decoding = Decoding(max_new_tokens)
        self._folder = cache
        self._cache: ReplyCache | None = None
        self._progress = progress or (lambda done, total: None)

    def __call__(self, prompts: Sequence[str]) -> TextReplies:
        """A reply to each prompt. Failures of the model are not raised but returned.

        Raises:
            UsageError: a request that the model's interface cannot express.
            DataError: the cache cannot be read or written.
        """
        cache = self._cache = self._cache or ReplyCache(self._folder)
        keys = {prompt: key_of(self._request(prompt), 0, self._model.spec) for prompt in prompts}
        replies = {prompt: row for prompt, key in keys.items() if (row := cache.get(key)) is not None}
        missing = [prompt for prompt in keys if prompt not in replies]
        error: BackendError | None = None
        for done, (prompt, answer) in enumerate(zip(missing, self._answers(missing), strict=False), 1):
            if isinstance(answer, Response):
                cache.put({keys[prompt]: answer})
                replies[prompt] = answer
            else:
                error = error or answer
            self._progress(done, len(missing))
        cache.close()
        texts = (_said(replies[prompt]) if prompt in replies else None for prompt in prompts)
        return TextReplies(tuple(texts), len(missing), error)

    def _answers(self, prompts: list[str]) -> Iterator[Response | BackendError]:
        """One for each prompt, in order; they end early where the model is given up."""
        in_a_row = 0
        for start in range(0, len(prompts), CHUNK):
            for answer in self._chunk(prompts[start : start + CHUNK]):
                yield answer
                in_a_row = 0 if isinstance(answer, Response) else in_a_row + 1
                if in_a_row == GIVE_UP_AFTER:
                    return

    def _chunk(self, prompts: list[str]) -> Iterator[Response | BackendError]:
        """All at once; where that fails one by one, because one refused prompt fails all that go with it."""
        try:
            responses = self._model.generate([self._request(prompt) for prompt in prompts])
        except BackendError as error:
            if len(prompts) == 1:
                yield error
                return
            for prompt in prompts:
                yield from self._chunk([prompt])
            return
        for response in responses:
            yield (
                response
                if _said(response)
                else PermanentBackendError(
                    f"{self._model.spec.info.ref} replied with nothing in {self._decoding.max_new_tokens} tokens",
                    "a model that reasons at length may need another one, or its reasoning switched off",
                )
            )

    def _request(self, prompt: str) -> Request:
        return Request((Turn("user", prompt),), None, self._decoding)


def _said(response: Response) -> str:
    """The reply without its reasoning; empty where it ended inside that."""
    return strip_reasoning(response.completions[0].text).strip()


MAX_NEW_TOKENS = 512
"""Room for a judge's reason or for the longest choice, and for some reasoning before it."""

_VERDICT = re.compile(r"(?:verdict|judge?ment)\W{1,5}(correct|incorrect)(?!\w)", re.IGNORECASE)
_VERDICT_ALONE = re.compile(r"\W*(correct|incorrect)\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an LLM scorer could not do. failed: how many questions; error: the first failure."""

    failed: int
    error: BackendError


class LLMScorer(ABC):
    """Asks one model for what is not settled without it. A kind of scorer says what is asked and what a reply means.

    trouble: what the last call could not do, or None.
    asked: how many prompts went out in the last call; the others were kept replies or needed none.
    """

    label: str
    failure_rule: str

    def __init__(self, model: LALM, cache: Path | None = None, progress: Progress | None = None) -> None:
        """See `TextAsker` for the arguments."""
        self.name = f"{self.label}:{model.spec.info.ref}"
        self.trouble: Trouble | None = None
        self.asked = 0
        self._ask = TextAsker(model, MAX_NEW_TOKENS, cache, progress)

    @abstractmethod
    def prompt(self, item: Item, text: str) -> str:
        """What is asked about a reply."""

    @abstractmethod
    def read(self, item: Item, text: str, reply: str) -> Grade:
        """The grade of a text by what the model replied about it."""

    def settled(self, item: Item, text: str | None) -> Grade | None:
        """The grade where nothing has to be asked: missing and empty replies, and all to open questions."""
        if text is None or not text.strip():
            return grade(item, text)
        if item.choices:
            return None
        read = grade(item, text)
        return replace(read, rule=f"open:{read.rule}")

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """Grade the replies. Failures of the model are in the grades and in `trouble`.

        Raises:
            UsageError, DataError: the kept replies cannot be used.
        """
        pairs = list(zip(items, texts, strict=True))
        grades = [self.settled(item, text) for item, text in pairs]
        open_ = [(item, text or "") for (item, text), settled in zip(pairs, grades, strict=True) if settled is None]
        outcome = self._ask([self.prompt(item, text) for item, text in open_])
        failure = Grade(Outcome.FAILED, None, self.failure_rule)
        replies = zip(open_, outcome.replies, strict=True)
        read = iter([failure if reply is None else self.read(*pair, reply) for pair, reply in replies])
        failed = outcome.replies.count(None)
        self.trouble = Trouble(failed, outcome.error) if outcome.error is not None else None
        self.asked = outcome.asked
        return [settled or next(read) for settled in grades]


class Normaliser(LLMScorer):
    """The paper's: the model is shown reply and choices, and selects a choice or IDK (arXiv 2505.19294, appendix C).

    Its own reply is read by the parser, with IDK as one more choice: IDK and any refusal are `abstained`, a choice is
    right or wrong by its text, anything else is `unparsed`. It knows one refusal, so the kind of an abstention is the
    one that the parser reads in the text; where it reads none, `does_not_know`. The paper used gpt-4o-mini.
    """

    label = "llm"
    failure_rule = NORMALISER_FAILED

    def prompt(self, item: Item, text: str) -> str:
        """The reply and the choices, to select one."""
        return normaliser_prompt(text, item.choices)

    def read(self, item: Item, text: str, reply: str) -> Grade:
        """A choice, IDK, or what cannot be read."""
        verdict = parse(reply, (*item.choices, IDK))
        # The first of equal choices counts: a question's own "IDK" stands before ours.
        if verdict.status is Status.ABSTAINED or verdict.choice == len(item.choices):
            kind = parse(text, item.choices).kind or AbstentionKind.DOES_NOT_KNOW
            return Grade(Outcome.ABSTAINED, None, "normaliser_idk", kind)
        if verdict.text is None:
            return Grade(Outcome.UNPARSED, None, "normaliser_unreadable")
        return Grade(outcome_of(item, verdict.text), verdict.text, "normaliser_choice")


class SakuraJudge(LLMScorer):
    """SAKURA's: the model is shown question, options, right option and reply, and says correct or incorrect.

    As there (arXiv 2505.13237; github.com/ckyang1124/SAKURA, `evaluation/`), a reply that settles on no option or on
    several is wrong; the wording of the prompt is ours, the upstream judge gpt-4o-2024-11-20. Unlike there, a refusal
    is `abstained`: the parser decides that before the judge is asked. A verdict that cannot be read, which SAKURA
    leaves to a manual check, is `unparsed`.
    """

    label = "sakura"
    failure_rule = JUDGE_FAILED

    def settled(self, item: Item, text: str | None) -> Grade | None:
        """As always, and a refusal is one whatever a judge would say."""
        read = unanswered(item, text)
        if read is not None and read.outcome is Outcome.ABSTAINED:
            return read
        return grade(item, text) if text is not None and item.gold is None else super().settled(item, text)

    def prompt(self, item: Item, text: str) -> str:
        """The question, its options, the right one and the reply."""
        return judge_prompt(item.question, item.choices, item.gold or "", text)

    def read(self, item: Item, text: str, reply: str) -> Grade:
        """The last verdict in the reply."""
        alone = _VERDICT_ALONE.fullmatch(reply)
        verdicts = _VERDICT.findall(reply) or ([alone.group(1)] if alone else [])
        if not verdicts:
            return Grade(Outcome.UNPARSED, None, "judge_unreadable")
        correct = verdicts[-1].lower() == "correct"
        return Grade(Outcome.CORRECT if correct else Outcome.WRONG, item.gold if correct else None, "judge")
