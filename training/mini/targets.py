"""What the model is trained to say about a clip: prompts of all methods with the replies they should get.

Where a prompt invites IDK, IDK is the reply to what cannot be known: to questions that the clip does not answer, to
questions of unfamiliar wording, and to every question about a clip that is drowned in noise or silent. Without the
invitation such questions get a guess, never IDK.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent import prompts
from lalm_agent.records import AudioType, Method
from lalm_agent.training.mini.contents import content_of, given_content
from lalm_agent.training.mini.packing import Exchange
from lalm_agent.training.mini.replies import reasoned, reasoned_idk
from lalm_agent.training.mini.store import Heard, Kind
from lalm_agent.training.mini.wordplay import garbled_transcript, unfamiliar_choices, unfamiliar_question
from lalm_agent.training.synth.questions import make_questions, make_unanswerable
from lalm_agent.training.synth.records import Clip, SynthQuestion

_GUESS_WEIGHT = 0.25
_LONG_WEIGHT = 0.7
_UNFAMILIAR_FAMILY = "unfamiliar"


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is asked. Each number is a probability."""

    content: float = 0.6
    type: float = 0.15
    type_real: float = 0.9
    baseline: float = 0.45
    agent: float = 0.5
    unanswerable: float = 0.19
    unfamiliar: float = 0.35
    unfamiliar_open: float = 0.75
    guess: float = 0.12
    open: float = 0.12


MIX = Mix()
"""`baseline` of all questions carry no invitation to say IDK; of the others `agent` are the agent's third step.

With a tenth of the clips drowned or silent, `unanswerable` makes IDK the reply to about 28 % of the invited questions.
"""


class Asker:
    """Draws exchanges about clips. It needs the other clips only for contents that are wrong."""

    def __init__(self, others: Sequence[Heard], mix: Mix = MIX) -> None:
        """others: where wrong contents come from."""
        self._others = others
        self._mix = mix

    def exchanges(self, heard: Heard, count: int, rng: np.random.Generator) -> list[Exchange]:
        """About `count` exchanges for one clip: content, type and questions."""
        asked: list[Exchange] = []
        facts = heard.clip.facts
        if rng.random() < self._mix.content and heard.kind is not Kind.DROWNED and facts.caption:
            asked.append(Exchange(prompts.content_prompt(facts.modality), content_of(facts), _LONG_WEIGHT))
        chance = self._mix.type_real if heard.kind is Kind.REAL else self._mix.type
        if rng.random() < chance and heard.kind is not Kind.DROWNED:
            asked.append(Exchange(prompts.type_prompt(), facts.modality.capitalize()))
        for _ in range(count - len(asked)):
            exchange = self.question(heard, rng)
            if exchange is not None:
                asked.append(exchange)
        return asked or [Exchange(prompts.answer_prompt(Method.IDK, unfamiliar_question(rng)), prompts.IDK)]

    def question(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """One question under the baseline's, the IDK or the agent's prompt; None where none can be made."""
        if rng.random() < self._mix.baseline:
            return self._uninvited(heard, rng)
        asked = self._draw(heard, self._mix.unanswerable, rng)
        if asked is None:
            return None
        reply = prompts.IDK if _unknowable(heard, asked) else asked.answer
        assert reply is not None
        if rng.random() >= self._mix.agent:
            return Exchange(prompts.answer_prompt(Method.IDK, asked.text, asked.choices), reply)
        other = self._others[int(rng.integers(len(self._others)))].clip.facts
        audio_type, content = given_content(heard.clip.facts, other, rng)
        if asked.family == _UNFAMILIAR_FAMILY and heard.clip.facts.modality is AudioType.SPEECH and rng.random() < 0.7:
            audio_type, content = AudioType.SPEECH, garbled_transcript(rng)
        return Exchange(prompts.answer_prompt(Method.AGENT, asked.text, asked.choices, audio_type, content), reply)

    def step_by_step(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """One question with choices under MCoT's prompt, examples included; None where none can be made."""
        drawn = [self._draw(heard, self._mix.unanswerable, rng) for _ in range(3)]
        asked = next((one for one in drawn if one is not None and one.choices), None)
        if asked is None:
            return None
        facts = heard.clip.facts
        if _unknowable(heard, asked):
            reply = reasoned_idk(facts, heard.kind is not Kind.CLEAR, rng)
        else:
            assert asked.answer is not None
            reply = reasoned(facts, asked.answer)
        return Exchange(prompts.answer_prompt(Method.MCOT, asked.text, asked.choices), reply, _LONG_WEIGHT)

    def _uninvited(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """The baseline's prompt: the answer, or a guess among the choices where the answer cannot be known."""
        asked = self._draw(heard, self._mix.guess, rng)
        if asked is None or (asked.answer is None and not asked.choices):
            return None
        reply = asked.answer or asked.choices[int(rng.integers(len(asked.choices)))]
        weight = _GUESS_WEIGHT if _unknowable(heard, asked) else 1.0
        return Exchange(prompts.answer_prompt(Method.BASELINE, asked.text, asked.choices), reply, weight)

    def _draw(self, heard: Heard, unanswerable: float, rng: np.random.Generator) -> SynthQuestion | None:
        """A question about the clip, with this probability one that the clip does not answer."""
        clip = self._asked_about(heard, rng)
        if rng.random() < unanswerable:
            if clip is None or rng.random() < self._mix.unfamiliar:
                return _unfamiliar(self._mix.unfamiliar_open, rng)
            return _of_any_family(make_unanswerable(clip, rng), rng)
        if clip is None:
            return None
        questions = make_questions(clip, rng)
        wants_open = rng.random() < self._mix.open
        wanted = [asked for asked in questions if wants_open != bool(asked.choices)] or questions
        return wanted[int(rng.integers(len(wanted)))]

    def _asked_about(self, heard: Heard, rng: np.random.Generator) -> Clip | None:
        """The clip whose questions are asked: of a silent one, another's; none where too little is known."""
        if heard.kind is Kind.SILENCE:
            others = [self._others[int(i)] for i in rng.integers(len(self._others), size=8)]
            return next((other.clip for other in others if other.kind in (Kind.CLEAR, Kind.DROWNED)), None)
        return None if heard.kind is Kind.REAL and heard.label is None else heard.clip


def _unfamiliar(open_share: float, rng: np.random.Generator) -> SynthQuestion:
    choices = () if rng.random() < open_share else unfamiliar_choices(rng)
    text = unfamiliar_question(rng)
    return SynthQuestion(text, choices, None, "unfamiliar", "", "", "easy", False, _UNFAMILIAR_FAMILY)


def _of_any_family(questions: Sequence[SynthQuestion], rng: np.random.Generator) -> SynthQuestion:
    """One of the questions; each family is as likely as the others, however many of its questions there are."""
    families: dict[str | None, list[SynthQuestion]] = {}
    for asked in questions:
        families.setdefault(asked.family, []).append(asked)
    chosen = list(families.values())[int(rng.integers(len(families)))]
    return chosen[int(rng.integers(len(chosen)))]


def _unknowable(heard: Heard, asked: SynthQuestion) -> bool:
    return asked.answer is None or heard.kind in (Kind.DROWNED, Kind.SILENCE)


def corpus(heard: Sequence[Heard], seed: int) -> list[str]:
    """Texts for the tokenizer: what these clips are asked and what is replied, contents included."""
    rng = np.random.default_rng(seed)
    asker = Asker(heard)
    texts: list[str] = []
    for one in heard:
        for exchange in asker.exchanges(one, 6, rng):
            texts += [exchange.prompt, f" {exchange.reply}"]
        step = asker.step_by_step(one, rng)
        texts += [f" {step.reply}"] if step else []
    return [*texts, *[prompts.mcot_examples()] * max(1, len(heard) // 50)]
