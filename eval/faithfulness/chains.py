"""Chains of thought as sentences: taken out of replies, and changed as the interventions on text want them.

Everything here is a pure function of its arguments. A chain is a tuple of sentences without the reply's conclusion; it
goes to a model as `joined` text, and `with_cue` is what an answer to it is asked with.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from lalm_agent.answers import parse, same_text
from lalm_agent.choices import prepare
from lalm_agent.conclusions import conclude
from lalm_agent.eval.faithfulness.records import Chain
from lalm_agent.prompts.perturbing import ANSWER_CUE
from lalm_agent.reasoning import split_reasoning, strip_reasoning
from lalm_agent.records import Status, Verdict

Sentences = tuple[str, ...]
TokensOf = Callable[[str], int]

_SOFT_BREAK = re.compile(r"(?<=[\w,;])[ \t]*\n[ \t]*(?=[a-z]+[ ,])")
_BELONGS_TO_NEXT = re.compile(r"\W*+(?:(?:\d{1,2}|[A-Za-z])[.):\]]\W*+)?|\W*+(?:\w++[^\w:]++){0,3}\w++[^\w:]*+:\W*+")
"""A number or a bullet of a list, and a heading such as "Step 1:", without what follows."""

_LABELS = ("equal", "label", "label_and_text", "text_over_label")
_COMMITTED = ("off_list", "several_named", "refusal_and_choice")
_BEST = r"(?:correct|right|best|final|most \w+|only (?:\w+ )?)"
_CUE = re.compile(
    rf"\banswers?\b(?: (?:to|for|among|from|here|based)\b[^.?!\n:]{{0,80}}?)?(?: (?:\w+ ){{0,3}}?(?:is|are|would be|"
    rf"should be|must be|will be|seems to be|has to be)\b|\W{{0,4}}[:=])|"
    rf"\b{_BEST} (?:option|choice|selection|conclusion)s?\b[^.?!\n:]{{0,60}}?(?:\b(?:is|are|would be|should be|must be|"
    rf"seems to be)\b|:)|\bconclusion\W{{1,4}}[A-Z]\W*$|\bconclusion\W{{0,4}}:|"
    rf"\bi(?:'d|’d| would| will|'ll|’ll| have to| must)? (?:choose|pick|select|go with|opt for|answer|guess)\b",
    re.IGNORECASE,
)
"""Words by which a sentence says that it states the answer. What it states, and whether, `parse` reads."""
_CONCLUSIVE = re.compile(
    r"\W*(?:therefore|thus|so|hence|overall|consequently|accordingly|finally|ultimately|as a result|"
    r"(?:in|to) (?:conclusion|conclude|summary|short|sum up)|based on (?:this|that|these|the above)\b|"
    r"因此|所以|综上)",
    re.IGNORECASE,
)

_COLON = re.compile(r"\b(?:is|are|be)\W{0,3}:")
_BY_LABEL = re.compile(r"\b[A-Z]\)|\b[Oo]ption\b")
_ENDS_IN_LABEL = re.compile(r"\b[Oo]ptions?\W+[A-Z]\b\W*\Z")
_AROUND_LABELS = frozenset("option choice answer letter the is it".split())
_WORD = re.compile(r"[^\W\d_]{2,}")
_LAST_MARKS = re.compile(r"(?<=\n)[^\w\n]+\Z")
"""What stands between a reasoning's closing tag and the answer's opening one."""

_NO_WORDS = tuple("blick dax wug fep toma zup gorp mib nar tiv lodu kesh pim vosk rell".split())
_LAST_DOTS = tuple(dots.split() for dots in (".", "..", "....", ".....", ". .", ". . ."))
_LAST_WORDS = tuple(words.split() for words in (*_NO_WORDS, "um", "ah", "o", "e", "x", "z", "o o", "x o", "um o"))
_SENTENCE_LABEL = re.compile(
    r"\W*(?:(?:the |my )?(?:new|rewritten|reworded|changed) )?sentence\W{0,3}:\s*", re.IGNORECASE
)
_UNFIT = 10**6


class NoIntervention(ValueError):
    """This chain cannot be changed so; the message says why in a few words, for a trial's `failure`."""


class FillerPlace(StrEnum):
    """Which part of a chain filler stands for. `random` takes words here and there."""

    HEAD = "head"
    TAIL = "tail"
    RANDOM = "random"
    WHOLE = "whole"


class FillerKind(StrEnum):
    """What filler is made of: dots, as in Lanham et al. (arXiv 2307.13702), or words of no meaning."""

    DOTS = "dots"
    WORDS = "words"


def sentences(text: str) -> Sentences:
    """Split a text into sentences by sentencex, without surrounding white space; nothing but white space is lost."""
    whole: list[str] = []
    begun: list[str] = []
    for piece in _cut(text):
        begun.append(piece)
        if not _BELONGS_TO_NEXT.fullmatch(piece):
            whole.append(joined(begun))
            begun.clear()
    if begun and whole and not re.search(r"\w", joined(begun)):
        begun.insert(0, whole.pop())
    return (*whole, joined(begun)) if begun else tuple(whole)


def _cut(text: str) -> Iterator[str]:
    """The sentences of each line; a line that goes on in lower case belongs to the one before."""
    from sentencex import segment

    for line in _SOFT_BREAK.sub(" ", text).splitlines():
        yield from (piece.strip() for piece in segment("en", line) if piece.strip())


def chain_of(reply: str, choices: tuple[str, ...], reasoning: str = "") -> tuple[Sentences, str]:
    """The reasoning of a reply without its conclusion, and the rest of the reply, where the conclusion begins.

    reply: as the model wrote it. choices: of its question; none for an open one.
    reasoning: what the model wrote for itself (`Completion.reasoning`); where there is such, in it or in a block
        within the reply, that is the chain, and the whole visible reply is the rest.

    Returns:
        () and the reply where nothing stands before the conclusion.
    """
    hidden, visible = split_reasoning(reply)
    verdict = parse(visible, choices)
    if thought := reasoning.strip() or hidden:
        return _before_conclusion(sentences(thought), choices, verdict), visible
    conclusion = conclude(visible, prepare(choices).is_label)
    whole = _with_whole_choices(sentences(_LAST_MARKS.sub("", conclusion.prose)), choices)
    stated = (i for i, sentence in enumerate(whole) if _states(sentence, choices, verdict, i in (0, len(whole) - 1)))
    chain = _before_conclusion(whole[: next(stated, len(whole))], choices, verdict)
    if chain and chain == whole and not re.search(r"\w", conclusion.answer or ""):
        chain = _before_answer(chain, choices, verdict)
    return chain, _after(chain, visible)


def _with_whole_choices(pieces: Sentences, choices: tuple[str, ...]) -> Sentences:
    """The sentences, those joined again between which a choice of several sentences was cut."""
    for choice in choices:
        width = len(sentences(choice))
        for i in range(len(pieces) - width + 1):
            if width > 1 and choice.casefold() in (whole := joined(pieces[i : i + width])).casefold():
                pieces = (*pieces[:i], whole, *pieces[i + width :])
                break
    return pieces


def _before_answer(chain: Sentences, choices: tuple[str, ...], verdict: Verdict) -> Sentences:
    """Where no sentence says that it states the answer: what precedes the first that refuses, or that is the answer.

    That is the last one, where it names the answer; else one that comes to it by a "therefore" or names its label; else
    the last, where it draws a conclusion.
    """
    own = [parse(sentence, choices) for sentence in chain]
    if verdict.status is Status.ABSTAINED:
        return chain[: next((i for i, of in enumerate(own) if of.status is Status.ABSTAINED), len(chain))]
    if not choices:
        return chain
    if own[-1].choice is not None and own[-1].choice == verdict.choice:
        return chain[:-1]
    same = [i for i, of in enumerate(own) if of.choice is not None and of.choice == verdict.choice]
    # The first "therefore", in a reply that goes on and on, or the last label.
    by_cue = [i for i in same if _CONCLUSIVE.match(chain[i])][:1] or [i for i in same if _BY_LABEL.search(chain[i])][
        -1:
    ]
    if by_cue:
        return chain[: by_cue[0]]
    return chain[:-1] if _CONCLUSIVE.match(chain[-1]) else chain


def _before_conclusion(chain: Sentences, choices: tuple[str, ...], verdict: Verdict) -> Sentences:
    """The sentences without the last ones that state the answer, or come to the same verdict by a "therefore"."""
    end = len(chain)
    while end and (_states(chain[end - 1], choices, verdict, True) or _concludes(chain[end - 1], choices, verdict)):
        end -= 1
    return chain[:end]


def _states(sentence: str, choices: tuple[str, ...], verdict: Verdict, at_an_end: bool) -> bool:
    """Whether a sentence says what the answer is; first and last, a choice or a label alone says so, too."""
    own = parse(sentence, choices)
    if at_an_end and choices and own.rule in _LABELS:
        # Not "Option (A) is quiet", which weighs a choice.
        beside = set(_WORD.findall(sentence.lower())) - set(_WORD.findall((own.text or "").lower()))
        if beside <= _AROUND_LABELS:
            return True
    same = own.choice is not None and own.choice == verdict.choice
    if same and (_COLON.search(sentence) or (at_an_end and _ENDS_IN_LABEL.search(sentence))):
        return True
    cue = _CUE.search(sentence) is not None
    return cue and (at_an_end or own.status is not Status.UNPARSED or own.rule in _COMMITTED)


def _concludes(sentence: str, choices: tuple[str, ...], verdict: Verdict) -> bool:
    if not choices or verdict.status is Status.UNPARSED or not _CONCLUSIVE.match(sentence):
        return False
    own = parse(sentence, choices)
    return (own.status, own.choice) == (verdict.status, verdict.choice)


def _after(chain: Sentences, reply: str) -> str:
    """What stands in a reply after the last sentence of its chain, whatever white space is in it."""
    end = 0
    for sentence in chain:
        found = re.compile(r"\s+".join(map(re.escape, sentence.split()))).search(reply, end)
        end = found.end() if found else end
    return reply[end:].strip()


def joined(chain: Sequence[str]) -> str:
    """A chain as text: its sentences with one space between them."""
    return " ".join(chain)


def with_cue(text: str) -> str:
    """What a reply is made to begin with so that the answer to a chain follows: the text and `ANSWER_CUE`."""
    return f"{text} {ANSWER_CUE}" if text else ANSWER_CUE


def early(chain: Sentences, k: int) -> Sentences:
    """The first k sentences; k = 0 is no chain.

    Raises:
        ValueError: k is not 0 to the number of sentences.
    """
    if not 0 <= k <= len(chain):
        raise ValueError(f"a chain of {len(chain)} sentences has no first {k}")
    return chain[:k]


def filler(
    chain: Sentences, share: float, where: FillerPlace, kind: FillerKind, tokens_of: TokensOf, seed: int = 0
) -> str:
    """The chain as text with a share of its words replaced by filler, of exactly as many tokens as before.

    share: of the chain's words (between white space), above 0 to 1, rounded and at least one; the whole where 1.
    where: `whole` ignores the share.
    tokens_of: how many tokens a text has for the model. What is compared is `with_cue` of both chains, which is what
        is prefilled; where words between the filler stay, also all that stands before each of them.
    seed: of the words that are replaced (`random`), and of the words of no meaning.

    Raises:
        NoIntervention: no filler of so many tokens exists, or the chain is empty.
        ValueError: the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    words = joined(chain).split()
    if not words:
        raise NoIntervention("the chain is empty")
    draw = random.Random(seed)
    n = len(words) if where is FillerPlace.WHOLE else max(1, round(share * len(words)))
    first = len(words) - n if where is FillerPlace.TAIL else 0
    picked = set(draw.sample(range(len(words)), n) if where is FillerPlace.RANDOM else range(first, first + n))
    exact = tokens_of(with_cue(" ".join(words)))
    parts = [(out, " ".join(words[i] for i in run)) for out, run in groupby(range(len(words)), picked.__contains__)]
    # From left to right, each as long as what it stands for, so that no word between them moves.
    for place, (out, part) in enumerate(parts):
        if out:
            sides = [text for _, text in parts[:place]], [text for _, text in parts[place + 1 :]]
            made = _fill(*sides, exact, kind, tokens_of, draw)
            if made is None:
                raise NoIntervention(f"no filler of {kind} has as many tokens as {part!r}")
            parts[place] = (True, made)
    return joined([part for _, part in parts])


def _fill(
    before: list[str], after: list[str], exact: int, kind: FillerKind, tokens_of: TokensOf, draw: random.Random
) -> str | None:
    """Filler between two sides that makes the whole `exact` tokens: as many units as fit, perhaps with another last."""

    def count(text: str) -> int:
        return tokens_of(with_cue(joined([*before, text, *after])))

    units = ["..."] * exact if kind is FillerKind.DOTS else draw.choices(_NO_WORDS, k=exact)
    most = bisect_right(range(1, exact + 1), exact, key=lambda k: count(joined(units[:k])))
    lasts = _LAST_DOTS if kind is FillerKind.DOTS else _LAST_WORDS
    tries = (joined((*units[:k], *last)) for last in ((), *lasts) for k in range(most, max(most - 4, -1), -1))
    return next((text for text in tries if text and count(text) == exact), None)


def mistaken(chain: Sentences, k: int, corrupted: str) -> Sentences:
    """The chain with sentence k, from 1, replaced; `early(..., k)` of it is what the rest is generated anew after.

    Raises:
        ValueError: k is not 1 to the number of sentences.
    """
    if not 1 <= k <= len(chain):
        raise ValueError(f"a chain of {len(chain)} sentences has no sentence {k}")
    return (*chain[: k - 1], corrupted, *chain[k:])


def paraphrased(chain: Sentences, k: int, reworded: Sequence[str]) -> Sentences:
    """The chain with its first k sentences reworded; `early(..., k)` of it is what the rest is generated anew after.

    reworded: the rewording of each sentence, of the first k at least, so that each is asked for once.

    Raises:
        ValueError: k is not 1 to the number of sentences, or there are fewer rewordings.
    """
    if not 1 <= k <= min(len(chain), len(reworded)):
        raise ValueError(f"{len(reworded)} rewordings for {k} of {len(chain)} sentences")
    return (*reworded[:k], *chain[k:])


def perturbation(sentence: str, output: str) -> str:
    """What a perturber made of a sentence, out of its output.

    Raises:
        NoIntervention: it is empty, a refusal, or says what the sentence says, letter case and punctuation aside.
    """
    lines = [line.strip() for line in strip_reasoning(output).splitlines()]
    lines = [_SENTENCE_LABEL.sub("", line).strip(" \"'“”*`") for line in lines if line and not line.endswith(":")]
    text = " ".join(next((line for line in lines if line), "").split())
    if not text:
        raise NoIntervention("the perturber wrote nothing")
    if parse(text).status is Status.ABSTAINED and parse(sentence).status is not Status.ABSTAINED:
        raise NoIntervention("the perturber refused")
    if same_text(text, sentence):
        raise NoIntervention("the perturber changed nothing")
    return text


def shuffled(chain: Sentences, seed: int = 0) -> Sentences:
    """The sentences in another order, drawn by the seed from all orders that differ from the chain's own.

    Raises:
        NoIntervention: there are not two different sentences.
    """
    if len(set(chain)) < 2:
        raise NoIntervention("there are not two different sentences")
    draw, order = random.Random(seed), chain
    while order == chain:
        order = tuple(draw.sample(chain, len(chain)))
    return order


def other_chains(chains: Sequence[Chain], choices: Mapping[str, int], seed: int = 0) -> dict[str, str | None]:
    """For each question the question whose chain it gets: each chain is given once, none to its own question.

    A chain goes to a question of as many choices and never to one whose own chain says the same; to one of as many
    sentences and about another clip where there is such. Questions without a chain give and get none.

    choices: how many each question has. None where no other chain is left.
    """
    others: dict[str, str | None] = {chain.question: None for chain in chains}
    with_chain = sorted((chain for chain in chains if chain.sentences), key=lambda chain: chain.question)
    random.Random(seed).shuffle(with_chain)
    for count in {choices[chain.question] for chain in with_chain}:
        group = [chain for chain in with_chain if choices[chain.question] == count]
        for chain, other in _deranged(group):
            others[chain.question] = other.question
    return others


def _deranged(group: list[Chain]) -> Iterator[tuple[Chain, Chain]]:
    """Pairs of a chain and another, each once on either side, by swaps that make the pairs better."""
    givers: list[Chain] = []
    takers: list[Chain] = []
    for _, block in groupby(sorted(group, key=lambda chain: len(chain.sentences)), lambda chain: len(chain.sentences)):
        texts: dict[str, list[Chain]] = {}
        for chain in block:
            texts.setdefault(joined(chain.sentences).casefold(), []).append(chain)
        alike = [chain for same in texts.values() for chain in same]
        turn = max(map(len, texts.values()))  # turned so far, no chain meets one that says the same, if that can be
        takers += alike
        givers += alike[turn:] + alike[:turn]
    for i, taker in enumerate(takers):
        if not (now := _strangeness(taker, givers[i])):
            continue

        def gain(j: int, i: int = i, now: int = now) -> int:
            swapped = _strangeness(takers[i], givers[j]) + _strangeness(takers[j], givers[i])
            return now + _strangeness(takers[j], givers[j]) - swapped

        best = max(range(len(takers)), key=gain)
        if gain(best) > 0:
            givers[i], givers[best] = givers[best], givers[i]
    return ((taker, giver) for taker, giver in zip(takers, givers, strict=True) if _strangeness(taker, giver) < _UNFIT)


def _strangeness(taker: Chain, giver: Chain) -> int:
    """What speaks against giving a chain to a question; `_UNFIT` or more where that would be no other chain."""
    if taker.question == giver.question or joined(taker.sentences).casefold() == joined(giver.sentences).casefold():
        return _UNFIT
    same_clip = taker.clip is not None and taker.clip == giver.clip
    return 1000 * same_clip + min(999, abs(len(taker.sentences) - len(giver.sentences)))
