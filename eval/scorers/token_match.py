"""MMAU's and MMAR's published string match: words of the reply against words of the choices.

The rule, from the `string_match` of MMAU's `evaluation.py` (github.com/Sakshi113/MMAU, arXiv 2410.19168) and MMAR's
`code/evaluation.py` (github.com/ddlBoJack/MMAR, arXiv 2505.13032), which are the same: a text is the set of its words
(runs of letters, digits and underscores, in lower case). A reply is right if it has any word at all, has every word
of the right choice, and has no word that stands in another choice but not in the right one.

What that means: order and negation are not seen, so some wrong choices are accepted ("From near to far" for "From far
to near"); a bare letter never is; a sentence around the right choice is refused where its words stand in a wrong one
(the "A" of "(A) dog" beside "A cat meows"). A question without a gold answer is outside the protocol.

The published protocol knows right and wrong. Here a reply that does not match is `abstained` or `unparsed` where the
repository's parser says so, else `wrong`. The published accuracy is correct / N, whatever the others are called, but
for one difference: there a question without an output leaves the denominator, here it stays and is `failed`.
"""

import re
from collections.abc import Sequence

from lalm_agent.eval.grade import Grade, Outcome, unanswered
from lalm_agent.eval.items import Item

_WORDS = re.compile(r"\w+")


def matches(reply: str, gold: str, choices: Sequence[str]) -> bool:
    """Whether the published rule takes the reply for the gold answer."""
    said, right = _words(reply), _words(gold)
    if not said or not right <= said:
        return False
    return not any((_words(choice) - right) & said for choice in choices)


class TokenMatchScorer:
    """The published string match."""

    name = "mmau"

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """Grade each reply by itself."""
        return [_grade(item, text) for item, text in zip(items, texts, strict=True)]


class MmarScorer(TokenMatchScorer):
    """The same rule under MMAR's name."""

    name = "mmar"


def _grade(item: Item, text: str | None) -> Grade:
    if text is not None and item.gold is not None and matches(text, item.gold, item.choices):
        return Grade(Outcome.CORRECT, item.gold, "matched")
    return unanswered(item, text) or Grade(Outcome.WRONG, None, "not_matched")


def _words(text: str) -> set[str]:
    return set(_WORDS.findall(text.lower()))
