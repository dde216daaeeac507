"""What can be asked about a piece of music."""

import numpy as np

from lalm_agent.training.synth.drafts import Draft, others
from lalm_agent.training.synth.instruments import INSTRUMENTS
from lalm_agent.training.synth.questions_sound import NUMBERS, YES_NO
from lalm_agent.training.synth.records import Clip, MusicFacts

NAMES = tuple(INSTRUMENTS)
FAMILIES = tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS.values()))
TEMPI = ("slow", "medium", "fast")
DIRECTIONS = ("rising", "falling", "up and down")
MODES = ("major", "minor")
METRES = ("three", "four")
TEXTURES = ("a melody", "chords", "a bass line", "a drum loop")
BPM_STEP = 1.35


def music_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Every question that the facts of a piece allow."""
    detail = clip.facts.detail
    assert isinstance(detail, MusicFacts)
    parts = len(detail.instruments) + detail.drums
    drafts = [Draft("tempo", detail.tempo, others(TEMPI, (detail.tempo,), rng), open=True), _bpm(detail.bpm, rng)]
    drafts += _played(detail, rng) if detail.instruments else []
    texture = next(name for name in TEXTURES if name.endswith(detail.texture))
    if detail.texture == "drum loop" or not detail.drums:
        drafts.append(Draft("texture", texture, others(TEXTURES, (texture,), rng), events=parts))
    gold, wrong = YES_NO if detail.drums else YES_NO[::-1]
    drafts.append(Draft("drums", gold, (wrong,), events=parts, open=True))
    pools = (("direction", detail.direction, DIRECTIONS), ("mode", detail.mode, MODES), ("metre", detail.metre, METRES))
    for skill, fact, pool in pools:
        if fact:
            drafts.append(
                Draft(skill, fact, others(pool, (fact,), rng), events=parts + 1, close=skill != "direction", open=True)
            )
    return drafts


def _bpm(bpm: float, rng: np.random.Generator) -> Draft:
    """The tempo in beats per minute among tempi at least a third apart."""
    place = int(rng.integers(4))
    scale = [round(bpm * BPM_STEP ** (k - place)) for k in range(4)]
    gold = str(scale.pop(place))
    return Draft("tempo_bpm", gold, tuple(str(value) for value in scale), events=3)


def _played(detail: MusicFacts, rng: np.random.Generator) -> list[Draft]:
    lead, parts = detail.instruments[0], len(detail.instruments) + detail.drums
    family = INSTRUMENTS[lead].family
    near = tuple(name for name in NAMES if INSTRUMENTS[name].family == family) if rng.random() < 0.5 else ()
    drafts = [
        Draft(
            "instrument", lead, others(NAMES, detail.instruments, rng, near), events=parts, close=bool(near), open=True
        ),
        Draft("instrument_family", family, others(FAMILIES, (family,), rng), events=parts, open=True),
    ]
    count = len(detail.instruments)
    wrong = tuple(NUMBERS[k] for k in (1, 2, 3, 4) if k != count)
    drafts.append(Draft("instrument_count", NUMBERS[count], wrong, events=parts + 1, close=True, open=True))
    if count == 2:
        gold = detail.instruments[1]
        drafts.append(Draft("accompaniment", gold, others(NAMES, detail.instruments, rng), lead, parts + 1, True, True))
    truth = bool(rng.random() < 0.5)
    asked = detail.instruments[int(rng.integers(count))] if truth else others(NAMES, detail.instruments, rng, near)[0]
    gold, other = YES_NO if truth else YES_NO[::-1]
    drafts.append(Draft("instrument_present", gold, (other,), asked, parts, close=not truth and bool(near), open=True))
    return drafts
