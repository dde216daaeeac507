"""What can be asked about a piece of music."""

from lalm_agent.training.synth.drafts import Chooser, Draft
from lalm_agent.training.synth.instruments import INSTRUMENTS, alike
from lalm_agent.training.synth.questions_sound import NUMBERS, YES_NO
from lalm_agent.training.synth.records import Clip, MusicFacts

NAMES = tuple(INSTRUMENTS)
FAMILIES = tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS.values()))
TEMPI = ("slow", "medium", "fast")
DIRECTIONS = ("rising", "falling", "up and down")
MODES = ("major", "minor")
METRES = ("three", "four")
TEXTURES = ("a melody", "chords", "a bass line", "a drum loop")
GRID = tuple(range(50, 200, 10))
"""Every piece has one of these beats per minute."""


def music_drafts(clip: Clip, pick: Chooser) -> list[Draft]:
    """Every question that the facts of a piece allow."""
    detail = clip.facts.detail
    assert isinstance(detail, MusicFacts)
    drafts = [Draft("tempo", detail.tempo, pick.shuffled(TEMPI, (detail.tempo,)), open=True), _bpm(detail.bpm, pick)]
    drafts += _played(detail, pick) if detail.instruments else []
    texture = next(name for name in TEXTURES if name.endswith(detail.texture))
    if detail.texture == "drum loop" or not detail.drums:
        drafts.append(Draft("texture", texture, pick.shuffled(TEXTURES, (texture,))))
    gold, wrong = YES_NO if detail.drums else YES_NO[::-1]
    drafts.append(Draft("drums", gold, (wrong,), open=True))
    pools = (("direction", detail.direction, DIRECTIONS), ("mode", detail.mode, MODES), ("metre", detail.metre, METRES))
    for skill, fact, pool in pools:
        if fact:
            drafts.append(Draft(skill, fact, pick.shuffled(pool, (fact,)), open=True))
    return drafts


def _bpm(bpm: float, pick: Chooser) -> Draft:
    """The tempo in beats per minute among tempi that are the level's gap apart and never its half or double."""
    chosen = [round(bpm)]
    for other in (int(name) for name in pick.shuffled(tuple(map(str, GRID)), (str(round(bpm)),))):
        double = any(max(a, other) == 2 * min(a, other) for a in chosen)
        if not double and all(abs(other - a) >= pick.spec.bpm_gap for a in chosen):
            chosen.append(other)
    return Draft("tempo_bpm", str(chosen[0]), tuple(map(str, chosen[1:4])))


def _played(detail: MusicFacts, pick: Chooser) -> list[Draft]:
    lead, count = detail.instruments[0], len(detail.instruments)
    family = INSTRUMENTS[lead].family
    drafts = [
        Draft("instrument", lead, pick.wrong(NAMES, detail.instruments, alike(lead)), open=True),
        Draft("instrument_family", family, pick.shuffled(FAMILIES, (family,)), open=True),
    ]
    wrong = tuple(NUMBERS[k] for k in (1, 2, 3, 4) if k != count)
    drafts.append(Draft("instrument_count", NUMBERS[count], wrong, open=True))
    if count == 2:
        gold = detail.instruments[1]
        drafts.append(Draft("accompaniment", gold, pick.wrong(NAMES, detail.instruments, alike(gold)), lead, True))
    truth = pick.chance(0.5)
    heard = detail.instruments[int(pick.rng.integers(count))]
    asked = heard if truth else pick.wrong(NAMES, detail.instruments, alike(heard))[0]
    gold, other = YES_NO if truth else YES_NO[::-1]
    drafts.append(Draft("instrument_present", gold, (other,), asked, open=True))
    return drafts
