"""The one reader of the repository: a model's text and the choices in, a verdict out.

The text loses its hidden reasoning (`lalm_agent.reasoning`), a wrapper shows where it concludes
(`lalm_agent.conclusions`), and the conclusion is read by these rules; the first that decides wins:

| rule | status | when |
|---|---|---|
| `equal` | answered | the whole text equals a choice: case, quotes, markdown and final punctuation aside |
| `label` | answered | a letter or a number stands for a choice |
| `label_and_text` | answered | a letter and the text of its choice |
| `text_over_label` | answered | a letter beside the text of another choice: the text decides |
| `stated` | answered, abstained | "the answer is X", "I would choose X", "... is: X", a first or last line that is X |
| `concluded` | answered | "therefore ... X", "most likely X", where other choices are named on the way |
| `named` | answered | one choice is named and not rejected, and nothing else is |
| `near` | answered | the words of one choice, and of no other, all stand in a sentence; or it is misspelt |
| `refusal` | abstained | the text declines and commits to nothing (`lalm_agent.refusals`); the verdict has a kind |
| `off_list` | unparsed | it commits to something that is no choice, or to "none of these" |
| `several_named` | unparsed | two choices are named and none is preferred |
| `only_rejected` | unparsed | choices are named only to be rejected |
| `refusal_and_choice` | unparsed | a refusal beside a choice, and nothing says which counts |
| `too_long`, `empty`, `unfinished_reasoning`, `none` | unparsed | nothing to read |

Benchmarks have choices such as "Not sure", [G, A#, D, E] and [2, 4, 5, 3]: equality comes first for that reason, a
choice of one character is matched in its own case, and a number is no label where choices are numbers. What cannot be
read is unparsed, never guessed. The time is linear in the length of the text.

An open question (no choices) is answered by any text that does not refuse.
"""

import re
from bisect import bisect_left
from dataclasses import replace
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise, zip_longest

from lalm_agent.choices import (
    MORE_LABELS,
    NEGATED_AFTER,
    NEGATOR,
    TIMES,
    Mention,
    Options,
    Token,
    bare_text,
    fold,
    is_name,
    lists_of,
    mentions_of,
    plain_text,
    prepare,
    tokens_of,
    weigh,
)
from lalm_agent.conclusions import conclude
from lalm_agent.reasoning import strip_reasoning
from lalm_agent.records import AbstentionKind, Status, Verdict
from lalm_agent.refusals import Refusal, find_refusal

MAX_CHARACTERS = 65536
"""A longer reply is not read: `too_long`."""

_PROSE_READ = 16384
"""So many characters of prose without a wrapper, the last ones, are searched for choices."""


def parse(text: str, choices: tuple[str, ...] = (), max_characters: int = MAX_CHARACTERS) -> Verdict:
    """Read a reply.

    Args:
        text: what the model wrote, as it wrote it.
        choices: the options in the order in which the question has them; none for an open question.
        max_characters: a longer text is unparsed by the rule `too_long`.

    Returns:
        A verdict whose status is answered, abstained or unparsed. `choice` is the first of equal choices.
    """
    if len(text) > max_characters:
        return _unparsed("too_long")
    if not text.strip():
        return _unparsed("empty")
    options = prepare(tuple(choices))
    if (verdict := _equal(text, options)) is not None:
        return verdict
    visible = strip_reasoning(text)
    if not visible.strip():
        return _unparsed("unfinished_reasoning")
    plain = plain_text(visible)
    if len(plain) > max_characters:
        return _unparsed("too_long")
    return _concluded_text(plain, options) if choices else _read_open(visible, conclude(plain, options.is_label).answer)


def refuses(text: str) -> bool:
    """Whether the text holds a refusal anywhere, a mere hedge aside."""
    refusal = find_refusal(fold(plain_text(text)))
    return refusal is not None and not refusal.weak


def same_text(text: str, other: str) -> bool:
    """Whether two choices, or a reply and a choice, are equal in the sense of the rule `equal`."""
    return bare_text(text) == bare_text(other)


# --- reading ---------------------------------------------------------------------------------------------------------

_SENTENCE_END = re.compile(
    r"[.!?](?<![A-Z\d.!?].)(?<!\b[A-Z]r\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bvs\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bSt\.)[.!?]*[\"')*]*\s+"
    r"(?!(?:or|and|but|nor|rather|not)\b)|。|[!?](?=[^\x00-\x7f])|\n+"
)
_STATED = re.compile(
    r"\b(?:answers?|conclusion|prediction|selection|verdict|guess|pick|bet|count|total|number|(?:option|"
    r"choice)(?! [\"'(]*[a-z]\b))\b"
    r"(?:[^.:!?\n]{0,60}?\b(?:is|are|was|would be|should be|must be|will be|has to be|could be|might be|may be|"
    r"seems to be|appears to be)\b"
    r"(?! (?:based|because|not (?:sure|certain|clear)|to (?:identify|determine|find))\b)(?: (?:that|most likely|"
    r"likely|probably|definitely|clearly|therefore|thus|"
    r"simply|indeed|going to be|most probably))*|\s*(?:=|→|->|–|—)| -(?= ))\s*:?\s*"
    r"|\b(?:answers?|ans|correct|conclusion|prediction|selection|verdict|guess|pick|option|choice)\b\W{0,4}:\W{0,4}|"
    r"\b(?:answer|"
    r"conclusion)\W{0,4}\n\W{0,4}"
    r"|\b(?:is|are|be|as follows|by|likely|with|that|correction|doubt)\s*:\W{0,4}|\b(?:revise|change|correct|"
    r"switch) (?:this|that|it|my \w+)? ?to\b\s*"
    r"|\bi(?:'d| would| will|'ll| have to| must| am going to|'m going to)? (?:choose|pick|select|go (?:with|for)|"
    r"opt for|vote for|guess|answer|settle on|bet on|"
    r"conclude(?: that)?|say)\b(?: (?:it(?:'s| is)|that|this is|option))*:?\s*",
)
_STATED_ELSEWHERE = re.compile(
    r"(?:答案|选项|结论|回答|正确答案)(?:应该|可能|应)?(?:是|为|选|:)\s*|(?:所以|因此|故)?(?:我)?选择?(?:的是|:)?\s*(?=[\"'(]?[A-Z])"
    r"|\b(?:la |a |die |il |l'|le )?(?:respuesta|opci[oó]n|réponse|antwort|risposta|"
    r"resposta)\b(?: [a-zé]+)?(?: (?:es|est|ist|lautet|è|é)\b)?\s*:?\s*"
    r"|(?:答え|正解|回答|解答)(?:は|:)\s*|(?:정답|답)(?:은|:)\s*|\bответ\b\s*[:–—-]?\s*",
    re.IGNORECASE,
)
"""The same in other languages: tried only where the text is not plain English."""
_ELSEWHERE = re.compile(r"[^\x00-\u024f]|respuesta|opci[oó]n|réponse|antwort|risposta|resposta", re.IGNORECASE)
_CONCLUSIVE = re.compile(
    r"^\W*(?:therefore|thus|so\b|hence|overall|consequently|accordingly|finally|in (?:conclusion|summary|short)|"
    r"to (?:conclude|sum up|summari[sz]e)|as a result|"
    r"ultimately|all in all|taken together|actually|no,|wait|on second thought|"
    r"因此|所以|综上|总之|por lo tanto|donc|also,|"
    r"daher)|[,;] (?:so|therefore|thus|hence)\b|"
    r"\b(?:most|more) (?:likely|probably|closely|consistent|plausibl\w|appropriate|fitting|suitable|accurate|"
    r"accurately|probable|similar)\b|\b(?:likely|probably)\b|\b(?:best|closest|correct|only)\b|"
    r"\b(?:therefore|conclude|leaves|must be|i think|i believe|i'd say|my guess|"
    r"aligns?|matches|corresponds|points to)\b|\b(?:consistent with|fits|matching) {3}|最(?:可能|符合)",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\b(?:(?:i'd|i would|i'll|i will|i'm|i am|we'd) be (?:more than )?(?:happy|glad|pleased|able) to\b[^.\n]*|"
    r"(?:happy|glad) to (?:help|assist)\b|feel free to\b[^.\n]*|"
    r"let me know\b[^.\n]*|(?:if|once|when) you (?:can|could|have|would|provide|share|describe|upload|like|want|give|"
    r"send|need)\b[^.\n]*|please (?:provide|share|upload|send|attach|give|describe|try|check|clarify|specify|supply|"
    r"make|rephrase|let|re\w+)\b[^.\n]*|could you (?:please )?\w+[^.?\n]*)",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"\b(?:but|however|though|nevertheless|nonetheless|still|if i (?:had|have) to|my best|best guess|i(?:'d|"
    r" would) (?:say|guess)|that said|even so|based on|yet|wait|actually)\b|但|不过",
    re.IGNORECASE,
)
_NONE_OF = re.compile(
    r"\bnone of (?:the|these|those|them|all)\b|\bneither (?:of|option|choice|one|fits|is)\b|\bnot (?:among|in|one of|"
    r"listed (?:in|among)|part of|any of) (?:the |these |those |any of the )?(?:\w+ ){0,2}?"
    r"(?:options?|choices?|list|answers?|listed|above)\b|\bno(?: correct| right| suitable| matching)? (?:option|"
    r"choice|answer)\b[^.\n]{0,30}\b(?:match|fit|correct|listed|applies|given)|\bnone\W*$|\bnot listed\b|"
    r"\b(?:all|both|any) of (?:the above|these|them)\b|都不(?:是|对|符合)|以上(?:都|皆)",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"\W*(?:n/?a|nil|null|none|n|no answer|(?:not )?(?:applicable|available|provided|given|specified)|unknown|"
    r"无|没有|空|"
    r"na)?\W*",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"[\s\"'*_`>#]*+(?:(?:the )?(?:correct |final |best |right |most likely )?(?:answer|option|choice|ans|"
    r"letter)\b(?: is)?\W*|"
    r"(?i:(?:definitely|surely|(?:most )?(?:probably|likely)|maybe|perhaps|correct|final|so)\b\W*)|"
    r"(?:[Ii]t(?:['’]s| is)|[Tt]hat(?:['’]s| is)) (?=\W*(?:option |choice )?[A-Z]\b))?(?:option |"
    r"choice )?"
    r"(?P<open>[(\[{]?)\s*(?P<label>[A-Za-z]|\d{1,2})\s*(?P<close>[)\]}]?)(?P<stop>[\"'*_`]*[.,:;–—。,、!?-]*[\"'*_`]*)(?=\s|$)(?P<rest>[\s\S]*)"
)
_REASON = re.compile(
    r"\s*(?:because|since|as|is|was|it|due|for|given|based|seems|would|matches|fits|looks|sounds|indeed|"
    r"from)\b",
    re.IGNORECASE,
)
_REFUSED_LABEL = re.compile(r"\W*(?:(?:is|was) )?(?:no|not|wrong|incorrect|false)\b", re.IGNORECASE)
_UNENDING = frozenset(
    "the a an of is are was and or to in with for by as at on that this be features contains has which".split()
)


def _concluded_text(plain: str, options: Options, depth: int = 3) -> Verdict:
    """Read a text that may have wrappers, and wrappers within these."""
    conclusion = conclude(plain, options.is_label)
    if conclusion.answer is None:
        verdict = _read(conclusion.after, options) if conclusion.after.strip() else _unparsed("none")
        return _read(conclusion.prose, options) if verdict.status is Status.UNPARSED else verdict
    if conclusion.may_be_cut:
        verdict = _read(conclusion.prose, options)
        return verdict if verdict.status is Status.ANSWERED else _read(conclusion.answer, options)
    if (
        depth
        and re.search(r"</?\s*[A-Za-z]|\\boxed|\{[\"']", conclusion.answer)
        and _equal(conclusion.answer, options) is None
    ):
        return _concluded_text(conclusion.answer, options, depth - 1)
    return _read_wrapped(conclusion.answer, conclusion.prose, options)


def _read_wrapped(answer: str, prose: str, options: Options) -> Verdict:
    """Read what a wrapper marks; the reasoning before it decides only where the wrapper holds nothing readable."""
    if not _NOTHING.fullmatch(answer) or bare_text(answer) in options.bare:
        verdict = _read(answer.lstrip(": \n"), options)
        if verdict.status is Status.ABSTAINED and (refusal := find_refusal(fold(prose))) is not None:
            return replace(verdict, kind=_foremost(verdict.kind, refusal.kind))
        if verdict.status is not Status.UNPARSED or verdict.rule not in ("none", "off_list") or len(answer.strip()) > 2:
            return verdict
    said = _nothing_said(answer, prose, options)
    return said or (_read(prose, options) if prose.strip() else _unparsed("none"))


def _foremost(kind: AbstentionKind | None, other: AbstentionKind) -> AbstentionKind | None:
    """Of two kinds that one reply states: a clip that cannot be heard explains the rest."""
    return other if other is AbstentionKind.CANNOT_HEAR else kind


def _nothing_said(answer: str, prose: str, options: Options) -> Verdict | None:
    """An empty conclusion ("N/A", "None", "-"): what the reasoning before it declines or says, or None."""
    refusal = find_refusal(_without_choices(fold(prose), options))
    if refusal is not None:
        return _abstained(refusal.kind)
    if re.search("none", answer, re.IGNORECASE):
        return _unparsed("off_list")
    of_prose = _read(prose, options) if prose.strip() else None
    if of_prose is not None and of_prose.status is Status.ANSWERED:
        return of_prose
    return (
        _abstained(AbstentionKind.DOES_NOT_KNOW)
        if _NOTHING.fullmatch(answer) and re.search("[a-z无没]", answer, re.IGNORECASE)
        else None
    )


def _read(text: str, options: Options) -> Verdict:
    """Read text without a wrapper."""
    verdict = _equal(text, options) or _labelled(text, options, whole=True)
    if verdict is not None:
        return verdict
    plain = _without_emphasis(text)
    verdict = _equal(plain, options) or _stated(plain, options) or _line(plain, options)
    return verdict or _by_prose(plain, options)


def _read_open(text: str, answer: str | None) -> Verdict:
    """An open question is answered by what does not refuse."""
    content = answer if answer and answer.strip() else text
    folded = fold(plain_text(content))
    refusal = find_refusal(folded)
    words = re.search(r"\w", folded)
    if refusal is not None and words is not None:
        stated = [match.end() for match in _cues(folded)]
        first = re.split(r"(?<=[.!?。])\s", folded[words.start() :], maxsplit=1)[0]
        opens = find_refusal(first)
        if (
            (opens is not None and not opens.weak and not _REPORTED.search(first[: opens.start]))
            or _apologises(folded)
            or (stated and find_refusal(folded[stated[-1] :]))
        ):
            return _abstained(refusal.kind)
    return Verdict(Status.ANSWERED, "open", text=content.strip())


_REPORTED = re.compile(
    r"\b(?:says?|said|saying|tells?|told|asks?|asked|sings?|sang|shouts?|whispers?|lyrics?|states?|explains?|replies|"
    r"replied|answers|voice|speaker|man|woman|he|she)\b"
)


def _apologises(folded: str) -> bool:
    return (
        re.match(
            r"\W*(?:i'm |i am |we're )?(?:so |very |really )?(?:sorry|apologi|unfortunately|regrettably|afraid|抱歉|"
            r"对不起)",
            folded,
        )
        is not None
    )


def _equal(text: str, options: Options) -> Verdict | None:
    exact = [choice for choice in options.choices if choice.strip() == text.strip() and choice.strip()]
    if exact:
        return _answered(options, options.choices.index(exact[0]), "equal")
    bare = bare_text(text)
    if (
        len(bare) == 1
        and bare.upper() in text
        and bare.islower()
        and bare not in text
        and bare.upper() not in options.single
    ):
        return None
    same = {
        choice.strip(): index
        for index, choice in reversed(list(enumerate(options.choices)))
        if choice.strip() and bare_text(choice) == bare
    }
    if len(same) == 1:
        return _answered(options, next(iter(same.values())), "equal")
    index = options.bare.get(bare) if not same else None
    return _answered(options, index, "equal") if index is not None else None


def _labelled(text: str, options: Options, whole: bool = False) -> Verdict | None:
    """A text that begins with a label; with `whole` one that is nothing but labels, or a label with its text."""
    lead = _LEAD.match(text)
    if lead is None:
        return None
    letter, rest = lead["label"], lead["rest"].strip()
    index = options.label(letter)
    marked = bool(lead["close"] or lead["open"] or re.search(r"[.:)]", lead["stop"]))
    if index is None:
        return None
    if set(re.findall(r"[\w#♯]+", rest.lower())) <= {letter.lower(), "option", "choice"}:
        if letter.upper() in options.single and options.choices[index].strip() != letter.upper():
            return _unparsed("several_named")
        return _answered(options, index, "label")
    if letter.islower() and not marked:
        return None
    if whole:
        return None
    if MORE_LABELS.match(text, lead.start("close") if lead["close"] else lead.end("label")):
        return _unparsed("several_named")
    return _label_with_text(lead, index, rest, marked, options)


def _label_with_text(lead: re.Match[str], index: int, rest: str, marked: bool, options: Options) -> Verdict | None:
    if _REFUSED_LABEL.match(rest):
        return None
    if not marked and not lead["stop"]:
        is_reason = (
            _REASON.match(rest)
            and not NEGATED_AFTER.match(" " + fold(rest))
            and not re.search(r"\bbut\b|\bwas my\b", rest)
        )
        return _answered(options, index, "label") if is_reason else None
    if (same := _equal(rest, options)) is not None and same.choice is not None:
        return _answered(options, same.choice, "label_and_text" if same.choice == index else "text_over_label")
    first = re.split(r"\n|(?<=[.!?])\s", rest, maxsplit=1)[0]
    mentions = mentions_of(rest, options)
    starts = (
        bool(mentions)
        and not rest[: mentions[0].start]
        .strip(" \"'*_`(:.-")
        .removeprefix("the")
        .removeprefix("an")
        .removeprefix("a")
        .strip()
    )
    if starts and mentions[0].rule == "named":
        if len([m for m in lists_of(rest, mentions)[0]]) > 1:
            return _unparsed("several_named")
        return _answered(
            options, mentions[0].index, "label_and_text" if mentions[0].index == index else "text_over_label"
        )
    if starts and mentions[0].index != index:
        return _unparsed("several_named")
    close = _misspelt(first, options)
    if close is not None and close != index:
        return _answered(options, close, "text_over_label")
    return _answered(options, index, "label")


def _stated(text: str, options: Options) -> Verdict | None:
    """The last statement of an answer that can be read."""
    endings = [start for start, _ in _endings(text, options)]
    cues = _cues(text)[-_CUES_READ:]
    for cue, following in reversed(list(zip_longest(cues, cues[1:]))):
        place = bisect_left(endings, cue.end())
        end = min(endings[place] if place < len(endings) else len(text), cue.end() + _SEGMENT_READ)
        segment = text[
            cue.end() : min(end, following.start()) if following and following.start() >= cue.end() else end
        ].strip()
        if not segment or _CONDITION.search(text[endings[place - 1] if place else 0 : cue.start()][-120:]):
            continue
        if _SURE.match(segment):
            continue
        if _NOTHING.fullmatch(segment) and bare_text(segment) not in options.bare:
            return _nothing_said(segment, text[: cue.start()], options)
        verdict = _stated_segment(segment, options)
        if (
            verdict is None
            and _ANSWER_CUE.match(cue[0])
            and len(segment.split()) < 7
            and not mentions_of(segment, options)
            and _commits(segment)
        ):
            return _unparsed("off_list")
        if verdict is not None:
            return verdict
    return None


def _cues(text: str) -> list[re.Match[str]]:
    cues = list(_STATED.finditer(fold(text)))
    if _ELSEWHERE.search(text):
        cues += _STATED_ELSEWHERE.finditer(text)
        cues.sort(key=lambda cue: cue.end())
    return cues


_CUES_READ, _SEGMENT_READ = 32, 1000
"""How many statements of an answer are read, the last ones, and how many characters of each."""
_CONDITION = re.compile(r"\b(?<!even )(?:if|when|unless) (?:it|the|this|that|you|they|he|she)\b[^.;]*$", re.IGNORECASE)
_SURE = re.compile(r"\W*(?:i am|i'm) (?:\w+ )?(?:sure|certain|confident)\b", re.IGNORECASE)
_ANSWER_CUE = re.compile(r"(?:answer|conclusion|答案)", re.IGNORECASE)


def _stated_segment(segment: str, options: Options) -> Verdict | None:
    if (verdict := _equal(segment, options)) is not None:
        return replace(verdict, rule="stated")
    if (verdict := _labelled(segment, options)) is not None:
        return verdict
    mentions = weigh(segment, options)
    affirmed = [mention for mention in mentions if mention.stance > 0]
    if affirmed:
        first = affirmed[0]
        candidates = {mention.index for mention in affirmed}
        if len(segment[: first.start].strip(" \"'*_`(:.-").split()) <= 4:
            # What stands at the beginning is the answer, with all that is in one list with it.
            candidates = {
                m.index
                for group in lists_of(segment, mentions)
                if first.start in {m.start for m in group}
                for m in group
            }
            if len(candidates) > 1:
                return _unparsed("several_named")
        rule = "stated" if first.rule == "named" else first.rule
        return _answered(options, first.index, rule) if len(candidates) == 1 else None
    refusal = find_refusal(fold(segment))
    if refusal is not None and not mentions and (not refusal.weak or refusal.start < 4):
        return Verdict(Status.ABSTAINED, "stated", kind=refusal.kind)
    if not mentions:
        if _NONE_OF.match(segment):
            return _unparsed("off_list")
        close = _near(segment, options) if len(segment) < 200 else None
        return _answered(options, close, "near") if close is not None else None
    return None


def _line(text: str, options: Options) -> Verdict | None:
    """The last line, or else the first, where it is a choice or a label with or without its text."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for line in dict.fromkeys((lines[-1:] + lines[:1]) if lines else ()):
        if len(lines) > 1 and (verdict := _equal(line, options)) is not None:
            return replace(verdict, rule="stated")
        verdict = _labelled(line, options) if not line[0].isdigit() else None
        if verdict is not None and _stands_by(weigh(line, options)):
            return verdict
    return None


def _stands_by(mentions: list[Mention]) -> bool:
    """Whether a line has no more than one label, and does not reject what it begins with."""
    labels = {mention.index for mention in mentions if mention.rule != "named"}
    return len(labels) < 2 and all(mention.stance >= 0 for mention in mentions[:1])


def _by_prose(text: str, options: Options) -> Verdict:
    """Read prose without a statement of the answer: what it says of the choices, and whether it refuses."""
    text = text[-_PROSE_READ:]
    sentences = _sentences(text, options)
    refusal = find_refusal(_without_choices(fold(text), options))
    # An offer to help stands beside a refusal, and names no choice.
    own = sentences if refusal is None else [(start, _OFFER.sub(_blank, sentence)) for start, sentence in sentences]
    weighed = [(start, sentence, weigh(sentence, options)) for start, sentence in own]
    if refusal is not None and refusal.kind is AbstentionKind.CANNOT_HEAR and _answers_silence(weighed, options):
        refusal = None
    verdict = _beside_refusal(refusal, weighed, text, options) if refusal is not None else None
    return verdict or _by_mentions(weighed, text, refusal, options)


def _answers_silence(weighed: "_Weighed", options: Options) -> bool:
    """Whether silence is what the text answers, where silence is a choice."""
    affirmed = [mention for _, _, mentions in weighed for mention in mentions if mention.stance > 0]
    return any(_QUIET.search(bare_text(options.choices[mention.index])) for mention in affirmed)


def _by_mentions(weighed: "_Weighed", text: str, refusal: Refusal | None, options: Options) -> Verdict:
    sentences = [(start, sentence) for start, sentence, _ in weighed]
    mentions = [mention for _, _, of_sentence in weighed for mention in of_sentence]
    affirmed = [mention for mention in mentions if mention.stance > 0]
    if len({mention.index for mention in affirmed}) == 1:
        return _answered(options, affirmed[-1].index, affirmed[-1].rule)
    if affirmed:
        ends_elsewhere = not weighed[-1][2] and _IS_OTHER.match(sentences[-1][1])
        return _concluded(weighed, options) or _unparsed("off_list" if ends_elsewhere else "several_named")
    if _NONE_OF.search(text):
        return _unparsed("off_list")
    rejects = any(mention.stance < 0 for mention in mentions)
    near = None if rejects and len(mentions) > 1 else _near_in(sentences, options)
    if near is not None and near not in {mention.index for mention in mentions}:
        return _answered(options, near, "near")
    if rejects:
        return _unparsed("only_rejected")
    if refusal is not None:
        return _abstained(refusal.kind)
    return _unparsed(_without_choice(text, len({mention.index for mention in mentions}), len(sentences)))


def _without_choice(text: str, considered: int, sentences: int) -> str:
    """The rule's name for a text that stands by no choice. considered: so many choices are named all the same."""
    if considered > 1:
        return "several_named"
    return "off_list" if _commits(text) and (not considered or sentences == 1) else "none"


_YES_NO = re.compile(r"\W*(?:yes|no)\W+(?:i(?:'m| am)?\W+)?(?:there\W+)?", re.IGNORECASE)
_FIRST_PERSON = re.compile(r"i\b|i'm|can|could|don't|do not|unable|sorry", re.IGNORECASE)
_IS_OTHER = re.compile(
    r"\W*(?:so,? |therefore,? |thus,? )?(?:it|this|that|the \w+(?: \w+)?) (?:is|was|must be|can only be) (?:an? |"
    r"the )?(?!not\b|no\b)[\w'-]+(?: [\w'-]+)?[.!]?\s*$",
    re.IGNORECASE,
)
_Weighed = list[tuple[int, str, list[Mention]]]


def _concluded(weighed: _Weighed, options: Options) -> Verdict | None:
    """The last sentence that concludes and names choices, where it stands by one of them only."""
    for _, sentence, mentions in reversed(weighed):
        affirmed = [mention for mention in mentions if mention.stance > 0]
        if affirmed and (match := _CONCLUSIVE.search(_without_mentions(sentence, mentions))):
            after = [mention for mention in affirmed if mention.start >= match.start()] or affirmed
            if len({mention.index for mention in after}) > 1:
                return None
            rule = "concluded" if after[-1].rule == "named" else after[-1].rule
            return _answered(options, after[-1].index, rule)
    return None


def _without_mentions(sentence: str, mentions: list[Mention]) -> str:
    for mention in mentions:
        sentence = f"{sentence[: mention.start]}{' ' * (mention.end - mention.start)}{sentence[mention.end :]}"
    return sentence


def _beside_refusal(refusal: Refusal, weighed: _Weighed, text: str, options: Options) -> Verdict | None:
    """What a refusal comes to: it stands, a commitment outranks it, or both do; None where other rules decide."""
    affirmed = [(start, s, m) for start, s, ms in weighed for m in ms if m.stance > 0]
    if not affirmed:
        return (
            None
            if refusal.weak and _near_in(_sentences(text, options), options) is not None
            else _abstained(refusal.kind)
        )
    after = [(start, s, m) for start, s, m in affirmed if start + m.start >= refusal.end]
    bridge = text[refusal.end : after[0][0] + after[0][2].start] if after else ""
    agree = len({m.index for _, _, m in affirmed}) == 1
    said = text[max((start for start, _, _ in weighed if start <= refusal.start), default=0) : refusal.start]
    if agree and not after and _YES_NO.fullmatch(said):
        first_person = _FIRST_PERSON.match(text, refusal.start)
        return _abstained(refusal.kind) if first_person else _answered(options, affirmed[0][2].index, "stated")
    if after and len({m.index for _, _, m in after}) == 1:
        own_sentence = after[0][0] >= refusal.end
        if (
            _CONTRAST.search(bridge)
            or (own_sentence and (_CONCLUSIVE.search(after[0][1]) or refusal.weak))
            or re.search(r"\b(?:so|therefore|hence|thus)\b", bridge)
        ):
            return _answered(options, after[0][2].index, after[0][2].rule)
        if not own_sentence and "," not in bridge and "\n" not in bridge:
            return _abstained(refusal.kind)
        return None if refusal.weak and agree else _unparsed("refusal_and_choice")
    if after:
        return _abstained(refusal.kind) if "," not in bridge[:3] else _unparsed("refusal_and_choice")
    if refusal.weak:
        return None if agree or _concluded(weighed, options) else _abstained(refusal.kind)
    if not agree:
        return _abstained(refusal.kind)
    hedged = re.search(
        r"\bnot (?:\w+ )?(?:sure|certain|confident)|\bunsure|\buncertain", fold(text)[refusal.start : refusal.end]
    )
    return (
        None
        if hedged and _CONTRAST.search(text[affirmed[-1][0] + affirmed[-1][2].end : refusal.start])
        else _unparsed("refusal_and_choice")
    )


# --- nearly a choice -------------------------------------------------------------------------------------------------


def _near_in(sentences: list[tuple[int, str]], options: Options) -> int | None:
    """The choice whose words all stand in one sentence: the last that concludes, else the last, else the first."""
    order = sorted(
        range(len(sentences)), key=lambda i: (_CONCLUSIVE.search(sentences[i][1]) is not None, i), reverse=True
    )
    for i in order:
        near = _near(sentences[i][1], options)
        if near is not None:
            return near
    return None


def _near(sentence: str, options: Options) -> int | None:
    if (close := _misspelt(sentence, options)) is not None:
        return close
    if NEGATOR.search(fold(sentence)) or re.search(r"\b(?:or|either)\b", sentence):
        return None
    tokens = tokens_of(sentence)
    if (number := _number_choice(tokens, sentence, options)) is not None:
        return number
    said = [_root(token.stem) for token in tokens]
    roots = {index: [_root(stem) for stem in words] for index, words in options.content.items()}
    covered = [
        index
        for index, words in roots.items()
        if set(words) <= set(said) and _is_telling(words, options.content[index], said)
    ]
    in_order = [index for index in covered if _in_order(roots[index], said)]
    covered = in_order if len(in_order) == 1 else covered
    widest = [
        index for index in covered if all(set(roots[other]) < set(roots[index]) or other == index for other in covered)
    ]
    return widest[0] if len(widest) == 1 else None


def _is_telling(roots: list[str], words: tuple[str, ...], said: list[str]) -> bool:
    """Two words at least; a single one only as an inflection: "clapped" for "clapping", "angrily" for "angry"."""
    return len(set(roots)) > 1 or (len(words) == 1 and (words[0].endswith("ing") or len(said) == 1))


def _in_order(words: list[str], said: list[str]) -> bool:
    rest = iter(said)
    return all(word in rest for word in words)


def _number_choice(tokens: list[Token], sentence: str, options: Options) -> int | None:
    """The choice whose one number is the only number of the sentence, where each choice has a number of its own."""
    if not options.numeric:
        return None
    numbers = {index: [stem for stem in words if stem[0].isdigit()] for index, words in options.content.items()}
    distinct = {own[0] for own in numbers.values() if len(own) == 1}
    if len(distinct) < len(numbers):
        return None
    numbers_said = (token for at, token in enumerate(tokens) if is_name(tokens, at, at + 1, sentence))
    said = {
        TIMES.get(token.stem, token.stem) for token in numbers_said if token.stem[0].isdigit() or token.stem in TIMES
    }
    matching = [index for index, own in numbers.items() if set(own) == said]
    return matching[0] if len(matching) == 1 else None


def _root(stem: str) -> str:
    for ending in ("ingly", "ing", "edly", "ed", "ly", "e"):
        if stem.endswith(ending) and len(stem) - len(ending) >= 3:
            stem = stem[: -len(ending)]
            break
    return stem[:-1] + "i" if stem.endswith("y") else stem


def _misspelt(segment: str, options: Options) -> int | None:
    """The one choice of as many words from which a short text differs by a letter or a space."""
    if len(segment) > 80:
        return None
    tokens = [token.stem for token in tokens_of(segment)]
    joined = "".join(tokens)
    close = []
    for index, text in ((index, text) for text, index in options.bare.items()):
        words = [token.stem for token in tokens_of(text)]
        if words and (
            joined == "".join(words) or (len(words) == len(tokens) and all(map(_one_letter_off, tokens, words)))
        ):
            close.append(index)
    return close[0] if len(set(close)) == 1 else None


def _one_letter_off(word: str, other: str) -> bool:
    if word == other:
        return True
    if (
        min(len(word), len(other)) < 5
        or abs(len(word) - len(other)) > 1
        or word[0] != other[0]
        or not (word + other).isalpha()
    ):
        return False
    blocks = SequenceMatcher(None, word, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) >= max(len(word), len(other)) - 1


_TASK = re.compile(
    r"\W*(?:the (?:question|task)|let me|let's|sure\b|okay|to (?:answer|determine|identify|find)|first\b|step\b|"
    r"i will|i'll|\d+\.)",
    re.IGNORECASE,
)


def _commits(text: str) -> bool:
    """Whether a short text says something: words that do not break off, and no question."""
    words = re.findall(r"\w+", text.lower())
    if _TASK.match(text):
        return False
    ended = bool(words) and words[-1] not in _UNENDING and not text.rstrip().endswith(("?", ",", ":", "-", "..."))
    return ended and len(text) < 400 and max(map(len, words)) > 2


# --- text ------------------------------------------------------------------------------------------------------------

_EMPHASIS = re.compile(r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)|^[ \t]*(?:#+|>|[-•])[ \t]+|\\[()\[\]]|\$", re.MULTILINE)


def _without_emphasis(text: str) -> str:
    """Text without markdown; outer quotes go where the whole text is quoted."""
    text = _EMPHASIS.sub("", text).strip()
    while len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and not _CLOSED_FIRST.match(text[1:-1]):
        text = text[1:-1].strip()
    return text


_CLOSED_FIRST = re.compile(r"[^\"']*[^\s\"'(][\"'](?!\w)")
"""The first inner quote closes: the outer ones do not belong together, as in '"dog" and "cat"'."""


@lru_cache(16)
def _ends(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in _SENTENCE_END.finditer(text))


def _endings(text: str, options: Options) -> tuple[tuple[int, int], ...]:
    """Where sentences end, from the mark to the next sentence, but not within a choice of several sentences."""
    endings = _ends(text)
    long = [choice for choice in options.bare if _SENTENCE_END.search(choice)]
    if not long or not endings:
        return endings
    folded = fold(text)
    spans = [match.span() for choice in long for match in re.finditer(re.escape(choice), folded)]
    return tuple(ending for ending in endings if not any(start < ending[0] < end for start, end in spans))


def _sentences(text: str, options: Options) -> list[tuple[int, str]]:
    """The sentences with the character at which each begins."""
    edges = [0, *(end for _, end in _endings(text, options)), len(text)]
    return [(start, text[start:end]) for start, end in pairwise(edges) if text[start:end].strip()]


_QUIET = re.compile(r"\b(?:silen|quiet|mute|nothing|no sound|noise|static|empty|unclear|inaudible|missing|broken)")


def _without_choices(folded: str, options: Options) -> str:
    """The text with blanks in the place of choices that would read as refusals."""
    for text, _ in options.bare.items():
        if len(text) > 3 and text in folded and (" " in text or find_refusal(text) is not None or _QUIET.search(text)):
            folded = folded.replace(text, " " * len(text))
    return folded


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _answered(options: Options, index: int, rule: str) -> Verdict:
    return Verdict(Status.ANSWERED, rule, index, options.choices[index])


def _abstained(kind: AbstentionKind) -> Verdict:
    return Verdict(Status.ABSTAINED, "refusal", kind=kind)


def _unparsed(rule: str) -> Verdict:
    return Verdict(Status.UNPARSED, rule)
