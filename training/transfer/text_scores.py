"""How close a written content is to its reference: word error rate for speech, token F1 for captions.

Both compare words: the text in compatibility form and lower case, its letters, digits and inner apostrophes. Synonyms
are other words to both, so a score says how a model's wording moved and not how well it hears.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

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
