"""Scorers that ask a language model: the paper's normaliser and SAKURA's judge.

Neither hears the clip. A missing reply is `failed` and an empty one `unparsed`, and neither is asked about. Open
questions have no options to select from, so both leave them to the parser, with `open:` before the rule. A model that
fails, or that says nothing, makes its question `failed` and never wrong: the next call asks again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lalm_agent.answers import parse
from lalm_agent.errors import BackendError
from lalm_agent.eval.grade import JUDGE_FAILED, NORMALISER_FAILED, Grade, Outcome, grade, outcome_of, unanswered
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers.asking import Progress, TextAsker
from lalm_agent.models.base import LALM
from lalm_agent.prompts import IDK
from lalm_agent.prompts.judging import judge_prompt, normaliser_prompt
from lalm_agent.records import AbstentionKind, Status

MAX_NEW_TOKENS = 512
"""Room for a judge's reason or for the longest choice, and for some reasoning before it."""

_VERDICT = re.compile(r"(?:verdict|judge?ment)\W{1,5}(correct|incorrect)(?!\w)", re.IGNORECASE)
_VERDICT_ALONE = re.compile(r"\W*(correct|incorrect)\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an LLM scorer could not do. failed: how many questions; error: the first failure."""

    failed: int
    error: BackendError


class _Reading(Protocol):
    """One way of having replies read."""

    label: str
    failure_rule: str

    def settled(self, item: Item, text: str | None) -> Grade | None:
        """The grade where nothing has to be asked."""
        ...

    def prompt(self, item: Item, text: str) -> str:
        """What is asked."""
        ...

    def read(self, item: Item, text: str, reply: str) -> Grade:
        """The grade of a text by what the model replied about it."""
        ...


class LLMScorer:
    """Asks for what is not settled; one model, one way of reading.

    trouble: what the last call could not do, or None.
    asked: how many prompts went out in the last call; the others were kept replies or needed none.
    """

    def __init__(
        self, reading: _Reading, model: LALM, cache: Path | None = None, progress: Progress | None = None
    ) -> None:
        """`reading` says what is asked and what a reply means; see `TextAsker` for the rest."""
        self.name = f"{reading.label}:{model.spec.info.ref}"
        self.trouble: Trouble | None = None
        self.asked = 0
        self._reading = reading
        self._ask = TextAsker(model, MAX_NEW_TOKENS, cache, progress)

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """Grade the replies. Failures of the model are in the grades and in `trouble`.

        Raises:
            UsageError, DataError: the kept replies cannot be used.
        """
        pairs = list(zip(items, texts, strict=True))
        grades = {i: settled for i, pair in enumerate(pairs) if (settled := self._reading.settled(*pair))}
        open_ = [i for i in range(len(pairs)) if i not in grades]
        outcome = self._ask([self._reading.prompt(pairs[i][0], pairs[i][1] or "") for i in open_])
        for i, reply in zip(open_, outcome.replies, strict=True):
            failure = Grade(Outcome.FAILED, None, self._reading.failure_rule)
            grades[i] = failure if reply is None else self._reading.read(pairs[i][0], pairs[i][1] or "", reply)
        failed = outcome.replies.count(None)
        self.trouble = Trouble(failed, outcome.error) if outcome.error is not None else None
        self.asked = outcome.asked
        return [grades[i] for i in range(len(pairs))]


class Normaliser(LLMScorer):
    """The paper's: the model is shown reply and choices, and selects a choice or IDK (arXiv 2505.19294, appendix C).

    Its own reply is read by the parser, with IDK as one more choice: IDK and any refusal are `abstained`, a choice is
    right or wrong by its text, anything else is `unparsed`. It knows one refusal, so the kind of an abstention is the
    one that the parser reads in the text; where it reads none, `does_not_know`. The paper used gpt-4o-mini.
    """

    def __init__(self, model: LALM, cache: Path | None = None, progress: Progress | None = None) -> None:
        """See `TextAsker` for the arguments."""
        super().__init__(_Selection(), model, cache, progress)


class SakuraJudge(LLMScorer):
    """SAKURA's: the model is shown question, options, right option and reply, and says correct or incorrect.

    As there (arXiv 2505.13237; github.com/ckyang1124/SAKURA, `evaluation/`), a reply that settles on no option or on
    several is wrong; the wording of the prompt is ours, the upstream judge gpt-4o-2024-11-20. Unlike there, a refusal
    is `abstained`: the parser decides that before the judge is asked. A verdict that cannot be read, which SAKURA
    leaves to a manual check, is `unparsed`.
    """

    def __init__(self, model: LALM, cache: Path | None = None, progress: Progress | None = None) -> None:
        """See `TextAsker` for the arguments."""
        super().__init__(_Judgement(), model, cache, progress)


class _Selection:
    label = "llm"
    failure_rule = NORMALISER_FAILED

    def settled(self, item: Item, text: str | None) -> Grade | None:
        return _settled(item, text)

    def prompt(self, item: Item, text: str) -> str:
        return normaliser_prompt(text, item.choices)

    def read(self, item: Item, text: str, reply: str) -> Grade:
        verdict = parse(reply, (*item.choices, IDK))
        # The first of equal choices counts: a question's own "IDK" stands before ours.
        if verdict.status is Status.ABSTAINED or verdict.choice == len(item.choices):
            kind = parse(text, item.choices).kind or AbstentionKind.DOES_NOT_KNOW
            return Grade(Outcome.ABSTAINED, None, "normaliser_idk", kind)
        if verdict.text is None:
            return Grade(Outcome.UNPARSED, None, "normaliser_unreadable")
        return Grade(outcome_of(item, verdict.text), verdict.text, "normaliser_choice")


class _Judgement:
    label = "sakura"
    failure_rule = JUDGE_FAILED

    def settled(self, item: Item, text: str | None) -> Grade | None:
        read = unanswered(item, text)
        if read is not None and read.outcome is Outcome.ABSTAINED:
            return read
        if text is not None and item.gold is None:
            return grade(item, text)
        return _settled(item, text)

    def prompt(self, item: Item, text: str) -> str:
        return judge_prompt(item.question, item.choices, item.gold or "", text)

    def read(self, item: Item, text: str, reply: str) -> Grade:
        said = [match.group(1) for match in _VERDICT.finditer(reply)]
        alone = _VERDICT_ALONE.fullmatch(reply)
        verdict = said[-1] if said else alone.group(1) if alone else None
        if verdict is None:
            return Grade(Outcome.UNPARSED, None, "judge_unreadable")
        correct = verdict.lower() == "correct"
        outcome = Outcome.CORRECT if correct else Outcome.WRONG
        return Grade(outcome, item.gold if correct else None, "judge")


def _settled(item: Item, text: str | None) -> Grade | None:
    """Missing and empty replies, and all to open questions, need no model."""
    if text is None or not text.strip():
        return grade(item, text)
    if item.choices:
        return None
    read = grade(item, text)
    return replace(read, rule=f"open:{read.rule}")
