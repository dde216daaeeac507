"""Text that means nothing to a model of a closed domain: garbled transcripts, questions and options of any wording.

They teach two things: that an unfamiliar question is a reason to say IDK where that is allowed, and that a reply is
one of the options even where all of them are unfamiliar.
"""

import numpy as np

from lalm_agent.training.synth.words import OTHER_WORDS

_SMALL = tuple(
    "the a an of to in on at by for with from and or but so as if that this these those it its he she they we "
    "you i his her their our my your me him them us is are was were be been has have had do does did will would "
    "can could may might must not no yes all any some each one two three four who what which when where why how "
    "there here then than now up down out over into off mrs mr dear old new good great very too more most much "
    "many such own".split()
)
_PLAIN = tuple(
    "day time man woman world life hand part child eye place work week case point number group fact house water "
    "room mother father money story month book job word side kind head boy girl friend hour game line name team "
    "minute car city moon sun war dog cat door street road tree horse king law food wall paper fire wind rain "
    "snow ship sea river land town bread meat milk tea bird fish stone gold white black red green blue big "
    "small long short high low young early late hard soft open go come see know take get give find think tell "
    "ask feel try leave call say said went came saw knew took got gave found thought told asked felt left made "
    "make look use want need seem keep let begin show hear play run move live believe hold bring happen write "
    "sit stand lose pay meet read spend grow walk win teach buy send build stay fall cut reach kill raise "
    "country fellow american president morning evening letter doctor teacher office school church music song "
    "dance party".split()
)
_PEOPLE = tuple(
    "speaker|man|woman|person|narrator|voice|caller|host|guest|customer|president|teacher|child|reporter|"
    "doctor|student|second speaker|first speaker|other person|singer|officer|mother|father|driver|waiter|"
    "presenter|audience|author".split("|")
)
FRAMES = (
    "What does the {who} ask for?",
    "What does the {who} {verb} about the {thing}?",
    "What is the {who}'s name?",
    "What is the {who}'s {thing}?",
    "What is the name of the {thing}?",
    "Why does the {who} {verb} the {thing}?",
    "Why is the {who} {quality}?",
    "Where is the {who} going?",
    "Where does the {who} {verb} the {thing}?",
    "Where was this recorded?",
    "When does the {thing} {verb}?",
    "When did the {who} {verb}?",
    "Who is the {who} talking to?",
    "Who is speaking?",
    "Who {verb}s the {thing}?",
    "Whom does the {who} address?",
    "How does the {who} {verb} the {thing}?",
    "How old is the {who}?",
    "How many {thing}s does the {who} mention?",
    "How much does the {thing} cost?",
    "Which {thing} does the {who} {verb}?",
    "What happens after the {thing}?",
    "What will the {who} do next?",
    "What should the {who} {verb}?",
    "What does the {who} want the {who2} to do?",
    "What is the main point of the {thing}?",
    "What is the conversation about?",
    "What is the relationship between the {who} and the {who2}?",
    "What year is it?",
    "What colour is the {thing}?",
    "What can be inferred about the {who}?",
    "According to the {who}, what is {quality}?",
    "Does the {who} {verb} the {thing}?",
    "Is the {thing} {quality}?",
    "Summarise what the {who} says about the {thing}.",
    "Complete the {who}'s sentence about the {thing}.",
    "Tell me why the {thing} is {quality}.",
    "Describe the {thing} in one word.",
    "What is the capital of {name}?",
    "Who is {name}?",
    "What does {name} say to {name2}?",
    "When was {name} born?",
    "What is the title of this piece?",
    "Who composed this {thing}?",
    "In which year was this {thing} made?",
    "What was the {who} {quality} about?",
)
_ASKING = ("what", "which", "who", "where", "when", "why", "how", "how many", "how much", "whose", "is", "does", "can")
_ONSETS = (
    "b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s",
    "sh", "sk", "sl", "st", "str", "t", "th", "tr", "v", "w", "y", "z",
)  # fmt: skip
_NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "ie", "oa", "oo", "ou")
_CODAS = (
    "", "", "b", "ck", "d", "ft", "g", "l", "ll", "m", "n", "nd", "ng", "nt", "p", "r", "rd", "s", "ss", "st", "t",
    "x",
)  # fmt: skip


def pseudo_word(rng: np.random.Generator) -> str:
    """A pronounceable string that is seldom a word."""
    syllables = int(rng.integers(1, 4))
    return "".join(_pick(rng, _ONSETS) + _pick(rng, _NUCLEI) + _pick(rng, _CODAS) for _ in range(syllables))


def any_word(rng: np.random.Generator) -> str:
    """A common word, a rarer word or no word at all."""
    chance = rng.random()
    if chance < 0.45:
        return _pick(rng, _PLAIN)
    return _pick(rng, OTHER_WORDS) if chance < 0.88 else pseudo_word(rng)


def garbled_transcript(rng: np.random.Generator) -> str:
    """What a recogniser writes for speech that it does not understand: 3 to 30 words without sense."""
    length = int(np.clip(rng.gamma(2.2, 6.0), 3, 30))
    return " ".join(_pick(rng, _SMALL) if rng.random() < 0.42 else any_word(rng) for _ in range(length))


def unfamiliar_question(rng: np.random.Generator) -> str:
    """An open question that the closed domain has no answer to."""
    if rng.random() < 0.25:
        length = int(rng.integers(2, 12))
        words = [_pick(rng, _SMALL) if rng.random() < 0.4 else any_word(rng) for _ in range(length)]
        text = f"{_pick(rng, _ASKING)} {' '.join(words)}?"
        return text[0].upper() + text[1:]
    return _pick(rng, FRAMES).format(
        who=_pick(rng, _PEOPLE),
        who2=_pick(rng, _PEOPLE),
        thing=any_word(rng),
        verb=any_word(rng),
        quality=any_word(rng),
        name=pseudo_word(rng).capitalize(),
        name2=pseudo_word(rng).capitalize(),
    )


def unfamiliar_choices(rng: np.random.Generator) -> tuple[str, ...]:
    """Two to five different options of one kind: words, phrases, sentences, names, numbers or codes.

    Options stand side by side without a mark between them. So those of several words begin with a capital letter, end
    with a full stop or alike, or all begin with the same word: otherwise nobody could tell where one ends.
    """
    makers = (_word, _word, _phrase, _phrase, _sentence, _sentence, _name, _number, _code)
    maker = makers[int(rng.integers(len(makers)))]
    if maker is _phrase and rng.random() < 0.3:
        first = _pick(rng, ("a", "the", "an old", "in the", "to", "very"))
        capital = rng.random() < 0.5

        def maker(rng: np.random.Generator) -> str:
            text = f"{first} {' '.join(any_word(rng) for _ in range(int(rng.integers(1, 3))))}"
            return text.capitalize() if capital else text

    wanted, options = int(rng.integers(2, 6)), dict[str, None]()
    while len(options) < wanted:
        options[maker(rng)] = None
    if maker is _word and rng.random() < 0.5:
        return tuple(option.capitalize() for option in options)
    return tuple(options)


def _word(rng: np.random.Generator) -> str:
    return any_word(rng)


def _phrase(rng: np.random.Generator) -> str:
    words = int(rng.integers(2, 6))
    first = any_word(rng).capitalize()
    rest = (_pick(rng, _SMALL) if rng.random() < 0.3 else any_word(rng) for _ in range(words - 1))
    return " ".join([first, *rest])


def _sentence(rng: np.random.Generator) -> str:
    subject = _pick(rng, ("I", "We", "They", "It", "That", "She", "He", "You", "This", f"The {any_word(rng)}"))
    verb = _pick(rng, ("can't", "won't", "is", "was", "will", "must", "does not", "never", "don't", any_word(rng)))
    rest = " ".join(
        _pick(rng, _SMALL) if rng.random() < 0.4 else any_word(rng) for _ in range(int(rng.integers(1, 7)))
    )
    return f"{subject} {verb} {rest}{_pick(rng, ('.', '.', '!', '?'))}"


def _name(rng: np.random.Generator) -> str:
    return " ".join(pseudo_word(rng).capitalize() for _ in range(int(rng.integers(1, 3))))


def _number(rng: np.random.Generator) -> str:
    value = str(int(rng.integers(10 ** int(rng.integers(1, 5)))))
    return value + _pick(rng, ("", "", " %", " Hz", " years", " km", "th", f".{int(rng.integers(10))}"))


def _code(rng: np.random.Generator) -> str:
    letters = "".join(_pick(rng, tuple("ABCDEFGHKLMNPRSTXZ")) for _ in range(int(rng.integers(1, 4))))
    number = int(rng.integers(100))
    return _pick(rng, (letters, f"{letters}-{number}", f"{letters}{number % 10}", f"{letters}#"))


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
