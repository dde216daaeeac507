"""Chains of thought as sentences: taken out of replies, and changed as the interventions on text want them.

Everything here is a pure function of its arguments. A chain is a tuple of sentences without the reply's conclusion; it
goes to a model as `joined` text, and `with_cue` is what an answer to it is asked with.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from lalm_agent.eval.faithfulness.records import Chain
from lalm_agent.prompts.perturbing import ANSWER_CUE

Sentences = tuple[str, ...]
TokensOf = Callable[[str], int]


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
    """Split a text into sentences by pysbd, without surrounding white space; nothing but white space is lost."""
    raise NotImplementedError


def chain_of(reply: str, choices: tuple[str, ...], reasoning: str = "") -> tuple[Sentences, str]:
    """The reasoning of a reply without its conclusion, and the rest of the reply, where the conclusion begins.

    reply: as the model wrote it. choices: of its question; none for an open one.
    reasoning: what the model wrote for itself (`Completion.reasoning`); where there is such, in it or in a block
        within the reply, that is the chain, and the whole visible reply is the rest.

    Returns:
        () and the reply where nothing stands before the conclusion.
    """
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError


def shuffled(chain: Sentences, seed: int = 0) -> Sentences:
    """The sentences in another order, drawn by the seed from all orders that differ from the chain's own.

    Raises:
        NoIntervention: there are not two different sentences.
    """
    raise NotImplementedError


def other_chains(chains: Sequence[Chain], choices: Mapping[str, int], seed: int = 0) -> dict[str, str | None]:
    """For each question the question whose chain it gets: each chain is given once, none to its own question.

    A chain goes to a question of as many choices and never to one whose own chain says the same; to one of as many
    sentences and about another clip where there is such. Questions without a chain give and get none.

    choices: how many each question has. None where no other chain is left.
    """
    raise NotImplementedError
