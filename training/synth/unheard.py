"""Questions about what no audio tells: a name, a year, a colour, a reason. Built from a grammar of nouns and patterns.

They teach a small model that a question with unfamiliar words is one it cannot answer.
"""

from dataclasses import dataclass

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.records import Clip, SynthQuestion
from lalm_agent.training.synth.wording import draw
from lalm_agent.training.synth.words import VERBS, unheard_nouns

SUB_CATEGORY = {
    AudioType.SOUND: "Ambient Sound Interpretation",
    AudioType.MUSIC: "Socio-cultural Interpretation",
    AudioType.SPEECH: "Conversational Fact Retrieval",
}
OPEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Unheard:
    """A pattern and the pool that its choices come from ("" for random words)."""

    pattern: str
    pool: str


POOLS: dict[str, tuple[str, ...]] = {
    "person": tuple(
        "Anna Bruno Clara David Elena Felix Greta Hugo Irene Jonas Karin Lukas Maria Nils Olga Peter Rosa Simon "
        "Teresa Victor".split()
    ),
    "city": tuple(
        "Athens Berlin Cairo Dublin Geneva Helsinki Istanbul Lisbon London Madrid Moscow Oslo Paris Prague Rome "
        "Sydney Tokyo Vienna Warsaw Zurich".split()
    ),
    "year": tuple(str(year) for year in range(1905, 2024, 7)),
    "colour": tuple("black blue brown gold green grey pink red white violet".split()),
    "number": tuple("eleven twelve fifteen eighteen twenty thirty forty sixty seventy ninety".split()),
    "month": tuple("January February March April May June July August September October November December".split()),
    "job": tuple(
        "baker barber carpenter dentist farmer fisherman lawyer mechanic nurse painter pilot plumber soldier "
        "surgeon tailor waiter".split()
    ),
    "reason": (
        "because it was late",
        "because of the cost",
        "for a friend",
        "out of habit",
        "to win a prize",
        "to save time",
        "by mistake",
        "for the children",
    ),
    "item": tuple(
        "ladder umbrella suitcase lamp blanket mirror telescope basket ring helmet scarf kettle shovel rope "
        "ticket violin case".split()
    ),
    "mood": tuple("proud jealous guilty lonely grateful bored ashamed hopeful envious relieved".split()),
}
"""Name -> possible answers, none of which a clip can confirm."""

_PATTERNS: dict[Pool, dict[AudioType | None, tuple[Unheard, ...]]] = {
    Pool.TRAIN: {
        None: (
            Unheard("What {colour|color} is the {|old |small |broken }<w>?", "colour"),
            Unheard("In {which|what} year was {this|the clip|the <w>} {recorded|made|found}?", "year"),
            Unheard("Who {made|recorded|owns|sold} the {recording|<w>|microphone}?", "person"),
            Unheard("In {which|what} city {is|was} the <w> {made|kept|hidden|}?", "city"),
            Unheard("What is {inside|next to|under|behind} the <w>?", "item"),
            Unheard("How {heavy|old|tall|expensive} is the <w>?", "number"),
            Unheard("What {does|did} the <w> {mean|cost|show|need}?", ""),
            Unheard("Why {did|would} the <w> <v>?", "reason"),
            Unheard("Which <w> {belongs to|comes from|replaces} the <w>?", ""),
            Unheard("What {month|time of the year} {is it|was it}?", "month"),
            Unheard("{How|Where|When} {did|does} the <w> <v>?", "month"),
        ),
        AudioType.SOUND: (
            Unheard("What is the {dog's|owner's|driver's|neighbour's} name?", "person"),
            Unheard("Who {knocked|is outside|called|opened the gate}?", "person"),
            Unheard("What {colour|color} is the {animal|car|door|bird}?", "colour"),
            Unheard("How old is the {animal|building|machine}?", "number"),
            Unheard("Which {firm|company|factory} built the {machine|car|engine}?", "person"),
            Unheard("Why did the {animal|person|noise} {stop|start}?", "reason"),
        ),
        AudioType.MUSIC: (
            Unheard("Who {composed|wrote|arranged} {this piece|the music|this song}?", "person"),
            Unheard("In {which|what} year was {the piece|this song} {written|released|composed}?", "year"),
            Unheard("In {which|what} {city|town} was {the concert|this music} {played|recorded}?", "city"),
            Unheard("What is the {title|name} of {the piece|this song|the album}?", ""),
            Unheard("How much did the {instrument|ticket} cost?", "number"),
            Unheard("What {did|does} the {player|musician|conductor} {wear|hold|feel}?", "item"),
        ),
        AudioType.SPEECH: (
            Unheard("What is the {speaker's|woman's|man's|caller's} {name|first name}?", "person"),
            Unheard("What does the {speaker|man|woman|caller} {ask|plead|apply|wait} for?", "item"),
            Unheard("What is the {speaker's|man's|woman's} {job|profession|trade}?", "job"),
            Unheard("How old is the {speaker|man|woman}?", "number"),
            Unheard("In {which|what} city was the {speaker|man|woman} born?", "city"),
            Unheard("What {colour|color} is the {speaker's|man's|woman's} {hair|coat|house}?", "colour"),
            Unheard("Why {did|does} the {speaker|man|woman} {leave|complain|refuse|laugh}?", "reason"),
            Unheard("Who {is|was} the {speaker|message} {waiting|meant|calling} for?", "person"),
        ),
    },
    Pool.DEV: {
        None: (
            Unheard("The <w> is of which colour?", "colour"),
            Unheard("Tell me when the <w> was invented.", "year"),
            Unheard("Name the <w> of the <w>.", ""),
        ),
        AudioType.SOUND: (Unheard("How does the witness feel about the event?", "mood"),),
        AudioType.MUSIC: (Unheard("Which artist is credited with this tune?", "person"),),
        AudioType.SPEECH: (
            Unheard("What does the talker want to buy?", "item"),
            Unheard("Where does the talker's family come from?", "city"),
        ),
    },
    Pool.TEST: {
        None: (
            Unheard("Whose <w> got lost?", "person"),
            Unheard("For what purpose is the <w> used?", "reason"),
            Unheard("To which <w> was the <w> compared?", ""),
        ),
        AudioType.SOUND: (Unheard("To whom does the animal or device belong?", "person"),),
        AudioType.MUSIC: (Unheard("When did the piece have its first performance?", "year"),),
        AudioType.SPEECH: (
            Unheard("Where did the talker grow up?", "city"),
            Unheard("What does the talker do for a living?", "job"),
        ),
    },
}
"""Pool -> modality (None: any) -> patterns; `<w>` stands for a noun of the pool, `<v>` for a verb."""


def unheard_patterns(pool: Pool) -> tuple[str, ...]:
    """All patterns that clips of a pool are asked."""
    return tuple(entry.pattern for entries in _PATTERNS[pool].values() for entry in entries)


def unheard_question(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """One question that the clip, or any clip, leaves open; half of them have choices."""
    kind = clip.facts.modality if rng.random() < 0.5 else None
    entries = _PATTERNS[clip.pool][kind]
    entry = entries[int(rng.integers(len(entries)))]
    words = unheard_nouns(clip.pool)
    text = draw(entry.pattern, rng)
    for mark, pool in (("<w>", words), ("<v>", VERBS)):
        while mark in text:
            text = text.replace(mark, pool[int(rng.integers(len(pool)))], 1)
    choices: tuple[str, ...] = ()
    if rng.random() >= OPEN_SHARE:
        answers = POOLS[entry.pool] if entry.pool else words
        choices = tuple(str(choice) for choice in rng.choice(answers, int(rng.integers(3, 5)), replace=False))
    category = SUB_CATEGORY[clip.facts.modality]
    return SynthQuestion(text, choices, None, "unheard", "Reasoning", category, clip.level, False, "unheard")
