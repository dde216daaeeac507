"""Asks all trials of one question: what the perturber writes, then every changed chain and clip in one call.

An answer to a chain that is held fixed is asked by prefill: the assistant's turn is the chain and the cue, and the
model continues it. A chain that is written anew is continued without the cue; where the model comes to no conclusion of
its own, the cue is put behind what it wrote and it is asked once more. All trials of a question are handed to the model
together, so that what they share, the clip and the prompt, is computed once.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from lalm_agent.answers import parse
from lalm_agent.audio import Sound, load
from lalm_agent.errors import BudgetSpent, DataError, LalmError, PermanentBackendError, TransientBackendError
from lalm_agent.eval.faithfulness.chains import NoIntervention, TokensOf, chain_of, joined, perturbation, with_cue
from lalm_agent.eval.faithfulness.folder import PerturbedKey, TrialKey
from lalm_agent.eval.faithfulness.plan import PERTURBED, Change, Levels, Material, changes_of
from lalm_agent.eval.faithfulness.records import Chain, ChainUse, Intervention, Perturbed, Trial
from lalm_agent.eval.faithfulness.sound import Speak
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.ask import ANSWER, LISTEN, refuse_other_recording
from lalm_agent.eval.runs.controls import ClipOf
from lalm_agent.eval.runs.records import QuestionDraw
from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn, softmax_of_scores
from lalm_agent.prompts import IDK, answer_prompt
from lalm_agent.prompts.perturbing import ANSWER_CUE, mistake_prompt, reword_prompt
from lalm_agent.records import Failure, Method

ANSWER_TOKENS = 32
"""Longest continuation of a chain with the cue; twice the longest choice where that is more."""
BACKEND = "backend: "
"""How the reason of a trial begins that failed because a model could not be asked; such can be asked again."""
_PROMPTS = {Intervention.MISTAKE: mistake_prompt, Intervention.PARAPHRASE: reword_prompt}


@dataclass(frozen=True, slots=True)
class QuestionTrials:
    """All that came of a question. perturbed: lines that are new. failure: where no request could be answered."""

    perturbed: tuple[Perturbed, ...]
    trials: tuple[Trial, ...]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A trial that is about to be asked: what the reply begins with, what is heard, how the choices are ordered."""

    change: Change
    prefix: str
    sound: Sound
    target: int | None
    order: tuple[int, ...]

    def choices(self, item: Item) -> tuple[str, ...]:
        return tuple(item.choices[place] for place in self.order)


@dataclass(frozen=True, slots=True, eq=False)
class TrialAsker:
    """From a question to its trials.

    chains: by question. others: the question whose chain each gets. known: what the perturber wrote before.
    kept: keys of trials that are not asked again.
    own_clip: loads the question's clip; swap: names another one, None where no intervention needs it.
    perturber: None where no intervention needs one. scores: whether the model gives the probabilities of options.
    """

    model: LALM
    perturber: LALM | None
    decoding: Decoding
    interventions: Sequence[Intervention]
    levels: Levels
    tokens_of: TokensOf
    scores: bool
    chains: Mapping[str, Chain]
    others: Mapping[str, str | None]
    own_clip: Callable[[Item], Sound]
    swap: ClipOf | None = None
    speak: Speak | None = None
    known: Mapping[PerturbedKey, Perturbed] = field(default_factory=dict)
    kept: Container[TrialKey] = ()
    max_audio_s: float = 3600.0

    def __call__(self, question: QuestionDraw) -> QuestionTrials:
        """Ask; what cannot be asked is a failed trial.

        Raises BudgetSpent, and DataError where the clip is another recording than the chain is about.
        """
        item = question.run_item.item
        chain = self.chains[item.id]
        changes = changes_of(item, chain.sentences, self.interventions, self.levels)
        changes = [change for change in changes if change.key(item.id) not in self.kept]
        try:
            sound = self.own_clip(item)
        except DataError as error:
            unread = Failure(LISTEN, error.message, error.hint, error.exit_code, type(error).__name__)
            reason, n = f"the clip: {error.message}", len(chain.sentences)
            return QuestionTrials((), tuple(change.failed(item.id, n, reason) for change in changes), unread)
        if chain.clip is not None:
            refuse_other_recording(item.audio, chain.clip, sound.ref.sha256)
        lines = self._perturbed(item, chain)
        trials = self._trials(item, chain, changes, self._material(item, chain, sound, lines))
        reasons = [trial.failure for trial in trials if trial.failure is not None]
        failure: Failure | None = None
        if len(reasons) == len(trials) and reasons[0].startswith(BACKEND):
            failure = Failure(ANSWER, reasons[0].removeprefix(BACKEND), None, PermanentBackendError.exit_code)
        new = (line for line in lines if self.known.get((item.id, line.kind, line.position)) is not line)
        return QuestionTrials(tuple(new), trials, failure)

    def _material(self, item: Item, chain: Chain, sound: Sound, lines: Sequence[Perturbed]) -> Material:
        other = self.others.get(item.id)
        swap: Sound | NoIntervention | None = None
        if Intervention.SWAP in self.interventions and self.swap is not None:
            try:
                swap = load(self.swap(item).path, self.max_audio_s)
            except DataError as error:
                swap = NoIntervention(error.message)
        return Material(
            item=item,
            chain=chain.sentences,
            own=chain.choice,
            seed=self.decoding.seed,
            tokens_of=self.tokens_of,
            sound=sound,
            other=self.chains[other].sentences if other is not None else None,
            swap=swap,
            perturbed={(line.kind, line.position): line.text or NoIntervention(line.failure or "") for line in lines},
            speak=self.speak,
        )

    # --- the perturber ------------------------------------------------------------------------------------------------

    def _perturbed(self, item: Item, chain: Chain) -> list[Perturbed]:
        """A line for each sentence and kind: those that are there, and those that the perturber writes now."""
        kinds = [kind for kind in PERTURBED if kind in self.interventions]
        sentences = {(kind, k): text for kind in kinds for k, text in enumerate(chain.sentences, 1)}
        there = {key: self.known.get((item.id, *key)) for key in sentences}
        kept = {key: line for key, line in there.items() if line is not None and is_settled(line.failure)}
        left = {key: text for key, text in sentences.items() if key not in kept}
        if self.perturber is not None and left:
            texts = {key: _PROMPTS[key[0]](text, item.question) for key, text in left.items()}
            kept |= perturbed_by(self.perturber, item.id, left, texts, self.decoding)
        return list(kept.values())

    # --- the model under study ----------------------------------------------------------------------------------------

    def _trials(self, item: Item, chain: Chain, changes: Sequence[Change], material: Material) -> tuple[Trial, ...]:
        n, made = len(chain.sentences), dict[str, Trial]()
        drafts, clips = dict[str, _Draft](), dict[tuple[object, ...], Sound]()
        for change in changes:
            target = material.target(change)
            of_clip = (change.intervention, change.variant, change.level)
            try:
                prefix = material.prefix(change)
                if of_clip not in clips:
                    clips[of_clip] = material.clip(change)
            except NoIntervention as reason:
                made[change.name] = change.failed(item.id, n, str(reason), target=target)
                continue
            drafts[change.name] = _Draft(change, prefix, clips[of_clip], target, material.order(change))
        first = self._responses(item, {name: (draft, None) for name, draft in drafts.items()})
        second = dict[str, tuple[_Draft, str | None]]()
        for name, draft in drafts.items():
            response = first[name]
            if isinstance(response, str):
                made[name] = self._failed(item, n, draft, response)
            elif draft.change.use is ChainUse.FIXED:
                made[name] = self._read(item, n, draft, response, "")
            else:
                completion = response.completions[0]
                chain_anew, conclusion = chain_of(completion.text, item.choices, completion.reasoning)
                if conclusion.strip():
                    made[name] = self._read(item, n, draft, response, None, conclusion)
                else:
                    second[name] = draft, joined(chain_anew)
        for name, answer in self._responses(item, second).items():
            draft, text = second[name]
            if isinstance(answer, str):
                made[name] = self._failed(item, n, draft, answer)
            else:
                made[name] = self._read(item, n, draft, answer, text)
        return tuple(made[change.name] for change in changes)

    def _responses(self, item: Item, drafts: Mapping[str, tuple[_Draft, str | None]]) -> dict[str, Response | str]:
        """The response to each draft, or why there is none. The text is what the model wrote anew, for the cue."""
        requests = [self._request(item, draft, anew) for draft, anew in drafts.values()]
        return dict(zip(drafts, responses(self.model, requests), strict=True))

    def _request(self, item: Item, draft: _Draft, anew: str | None) -> Request:
        asks_answer = draft.change.use is ChainUse.FIXED or anew is not None
        begun = joined([text for text in (draft.prefix, anew) if text])
        begun = with_cue(begun) if asks_answer else begun
        choices = draft.choices(item)
        prompt = answer_prompt(Method.MCOT, item.question.strip(), choices)
        turns = (Turn("user", prompt), *([Turn("assistant", begun)] if begun else ()))
        decoding = self.decoding
        if asks_answer:
            # Twice, because words stand for tokens where the model counts none.
            most = max((2 * self.tokens_of(choice) for choice in choices), default=0)
            decoding = Decoding(max(ANSWER_TOKENS, most), decoding.temperature, seed=decoding.seed)
        # Its own noise for each trial: with that of the original, equal answers would be less of a coincidence.
        key = "\0".join((item.id, draft.change.name, *(["cue"] if anew is not None else ())))
        options = options_of(choices) if asks_answer and self.scores else ()
        return Request(turns, draft.sound, decoding, options=options, key=key)

    def _failed(self, item: Item, n: int, draft: _Draft, reason: str) -> Trial:
        return draft.change.failed(item.id, n, reason, prefix=draft.prefix, target=draft.target)

    def _read(
        self, item: Item, n: int, draft: _Draft, response: Response, anew: str | None, conclusion: str = ""
    ) -> Trial:
        """A trial from what the model wrote. anew: what it wrote before the cue; None where it concluded by itself."""
        text = response.completions[0].text
        if anew is not None:
            conclusion = f"{ANSWER_CUE} {text.strip()}"
        written = text if not anew else f"{with_cue(anew)} {text.strip()}"
        choices, probabilities = draft.choices(item), None
        verdict = parse(conclusion, choices)
        if (shown := probabilities_of(choices, response)) is not None:
            probabilities = (*(shown[draft.order.index(place)] for place in range(len(choices))), shown[-1])
        return draft.change.trial(
            item.id,
            n,
            prefix=draft.prefix,
            status=verdict.status,
            # By its text: of two equal choices the first counts, in whatever order they were shown.
            choice=None if verdict.choice is None else item.choices.index(choices[verdict.choice]),
            text=written.strip(),
            probabilities=probabilities,
            target=draft.target,
        )


def perturbed_by(
    perturber: LALM,
    question: str,
    sentences: Mapping[tuple[Intervention, int], str],
    prompts: Mapping[tuple[Intervention, int], str],
    decoding: Decoding,
) -> dict[tuple[Intervention, int], Perturbed]:
    """What a perturber makes of sentences, greedily and without the clip, and what it fails to make."""
    settings = Decoding(decoding.max_new_tokens, seed=decoding.seed)
    requests = [
        Request((Turn("user", prompts[kind, k]),), None, settings, key=f"{question}\0{kind}\0{k}")
        for kind, k in sentences
    ]
    lines = {}
    for key, response in zip(sentences, responses(perturber, requests), strict=True):
        output, text, failure = "", None, None
        if isinstance(response, str):
            failure = response
        else:
            output = response.completions[0].text
            try:
                text = perturbation(sentences[key], output)
            except NoIntervention as reason:
                failure = f"the perturber: {reason}"
        kind, k = key
        lines[key] = Perturbed(
            question=question, kind=kind, position=k, sentence=sentences[key], output=output, text=text, failure=failure
        )
    return lines


def responses(model: LALM, requests: Sequence[Request]) -> list[Response | str]:
    """The response to each request, or why there is none: one bad request must not take the others with it.

    Raises BudgetSpent.
    """
    if not requests:
        return []
    try:
        return list(model.generate(requests))
    except BudgetSpent:
        raise
    except TransientBackendError as error:
        # Each was tried for long already.
        return [_reason(error)] * len(requests)
    except LalmError as error:
        if len(requests) == 1:
            return [_reason(error)]
    return [responses(model, [request])[0] for request in requests]


def _reason(error: LalmError) -> str:
    return f"{BACKEND}{error.message}"


def is_settled(failure: str | None) -> bool:
    """Whether asking again would change nothing."""
    return failure is None or not failure.startswith(BACKEND)


def may_be_asked_again(trial: Trial) -> bool:
    """Whether a trial failed because a model could not be asked, or a clip could not be read."""
    return not is_settled(trial.failure) or (trial.failure or "").startswith("the clip: ")


def options_of(choices: Sequence[str]) -> tuple[str, ...]:
    """How a reply that was begun with the cue goes on for each different choice, and for IDK; () without choices."""
    texts = [choice.strip() for choice in choices if choice.strip()]
    return tuple(dict.fromkeys(f" {text}." for text in (*texts, IDK))) if texts else ()


def probabilities_of(choices: Sequence[str], response: Response) -> tuple[float, ...] | None:
    """The probability of each choice and, last, of IDK; None where the model gives no scores.

    An empty choice has 0, and so has one that says what an earlier one does.
    """
    scores = response.option_scores
    if not scores:
        return None
    left = {score.text: value for score, value in zip(scores, softmax_of_scores(scores), strict=True)}
    return tuple(left.pop(f" {text.strip()}.", 0.0) for text in (*choices, IDK))
