"""What can be asked about a clip of sounds."""

from lalm_agent.training.synth.drafts import Chooser, Draft
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.records import Clip, SoundFacts
from lalm_agent.training.synth.sound_textures import TEXTURES

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
MOST = 7
TRENDS = ("getting louder", "getting quieter", "steady")
DISTANCES = ("near", "far")
YES_NO = ("yes", "no")

ANIMALS = {
    "dog barking": "dog",
    "cat meowing": "cat",
    "bird chirping": "bird",
    "cow mooing": "cow",
    "sheep bleating": "sheep",
    "rooster crowing": "rooster",
    "hen clucking": "hen",
    "pig grunting": "pig",
    "frog croaking": "frog",
    "crow cawing": "crow",
    "duck quacking": "duck",
    "horse neighing": "horse",
    "crickets": "cricket",
}
_GROUPS = {
    "a person": ("hand clap", "coughing", "sneezing", "baby crying", "footsteps", "applause"),
    "nature": ("rain", "wind", "thunder", "sea waves", "fire crackling", "flowing stream", "water dripping"),
    "a machine": ("engine", "helicopter", "chainsaw", "vacuum cleaner", "passing train"),
    "a signal": ("siren", "bell ringing", "electronic beep", "car horn", "whistle"),
    "an object": ("door knocking", "door slamming", "keys jangling", "clock ticking", "keyboard typing", "gunshot"),
}
SOURCES = {label: "an animal" for label in ANIMALS} | {
    label: group for group, labels in _GROUPS.items() for label in labels
}
SOURCE_NAMES = ("an animal", *_GROUPS)
_PLACES = {
    "a farm": ("cow mooing", "sheep bleating", "rooster crowing", "hen clucking", "pig grunting", "horse neighing"),
    "a beach": ("sea waves",),
    "a forest": ("chainsaw", "flowing stream", "bird chirping"),
    "a pond": ("frog croaking", "duck quacking"),
    "an office": ("keyboard typing",),
    "a theatre": ("applause",),
    "a street": ("siren", "car horn", "engine"),
    "a railway": ("passing train",),
    "a campfire": ("fire crackling",),
}
PLACES = {label: place for place, labels in _PLACES.items() for label in labels}
PLACE_NAMES = tuple(_PLACES)


_ALIKE = (
    ("dog barking", "crow cawing", "duck quacking", "pig grunting"),
    ("cat meowing", "baby crying", "sheep bleating", "rooster crowing"),
    ("cow mooing", "car horn", "engine", "sheep bleating"),
    ("hen clucking", "duck quacking", "rooster crowing", "dog barking"),
    ("horse neighing", "rooster crowing", "sheep bleating"),
    ("bird chirping", "whistle", "crickets", "electronic beep"),
    ("frog croaking", "pig grunting", "duck quacking", "crickets"),
    ("door knocking", "door slamming", "footsteps", "gunshot", "hand clap"),
    ("bell ringing", "electronic beep", "keys jangling", "clock ticking"),
    ("siren", "car horn", "whistle", "electronic beep"),
    ("coughing", "sneezing", "hand clap", "dog barking"),
    ("rain", "sea waves", "fire crackling", "flowing stream", "applause", "wind"),
    ("wind", "sea waves", "thunder", "helicopter"),
    ("engine", "helicopter", "chainsaw", "vacuum cleaner", "passing train"),
    ("keyboard typing", "clock ticking", "footsteps", "water dripping"),
    ("thunder", "gunshot", "door slamming"),
)
"""Sounds that are easily mistaken for one another."""


def near_labels(label: str) -> tuple[str, ...]:
    """Sounds that are easily mistaken for this one."""
    return tuple(dict.fromkeys(other for group in _ALIKE if label in group for other in group if other != label))


def number_choices(times: int, pick: Chooser, lowest: int = 1) -> tuple[str, ...]:
    """Wrong numbers: the nearest first, at an easy level any."""
    wrong = [k for k in range(lowest, MOST + 1) if k != times]
    if pick.spec.far_only:
        wrong = [k for k in range(lowest, 6) if k != times]
    reach = 1.5 * (1 - pick.spec.near)
    wrong.sort(key=lambda k: abs(k - times) + pick.rng.random() * (1 + reach * 2))
    return tuple(NUMBERS[k] for k in wrong[:3])


def sound_drafts(clip: Clip, pick: Chooser) -> list[Draft]:
    """Every question that the facts of a sound clip allow."""
    detail = clip.facts.detail
    assert isinstance(detail, SoundFacts)
    labels = tuple(label for label, _ in detail.runs)
    present = (*labels, detail.background) if detail.background else labels
    drafts = [_heard(present, pick), _presence(present, pick)]
    if len(present) == 1:
        drafts += _about_one(labels[0], pick)
    drafts += _counts(detail, pick)
    drafts += _order(labels, pick) if detail.background is None else _layers(detail, present, pick)
    if detail.trend:
        drafts.append(Draft("trend", detail.trend, pick.shuffled(TRENDS, (detail.trend,)), open=True))
    if detail.distance:
        drafts.append(Draft("distance", detail.distance, pick.shuffled(DISTANCES, (detail.distance,)), open=True))
    wrong = number_choices(len(present), pick)
    drafts.append(Draft("different_sounds", NUMBERS[len(present)], wrong, open=True))
    return drafts


def _heard(present: tuple[str, ...], pick: Chooser) -> Draft:
    gold = present[int(pick.rng.integers(len(present)))]
    wrong = pick.wrong(SOUND_EVENTS, present, near_labels(gold))
    return Draft("sound_class", gold, wrong, open=len(present) == 1)


def _presence(present: tuple[str, ...], pick: Chooser) -> Draft:
    truth = pick.chance(0.5)
    asked = present[int(pick.rng.integers(len(present)))]
    asked = asked if truth else pick.wrong(SOUND_EVENTS, present, near_labels(asked))[0]
    gold, wrong = YES_NO if truth else YES_NO[::-1]
    return Draft("sound_present", gold, (wrong,), asked, open=True)


def _about_one(label: str, pick: Chooser) -> list[Draft]:
    drafts = []
    if label in ANIMALS:
        near = tuple(ANIMALS[other] for other in near_labels(label) if other in ANIMALS)
        drafts.append(
            Draft("animal", ANIMALS[label], pick.wrong(tuple(ANIMALS.values()), (ANIMALS[label],), near), open=True)
        )
    if label in SOURCES:
        drafts.append(Draft("source", SOURCES[label], pick.shuffled(SOURCE_NAMES, (SOURCES[label],)), open=True))
    if label in PLACES:
        drafts.append(Draft("scene", PLACES[label], pick.shuffled(PLACE_NAMES, (PLACES[label],))))
    return drafts


def _counts(detail: SoundFacts, pick: Chooser) -> list[Draft]:
    drafts = [
        Draft("count", NUMBERS[times], number_choices(times, pick), label, True)
        for label, times in detail.runs
        if times
    ]
    times = [times for _, times in detail.runs]
    if len(times) > 1 and all(times) and times.count(max(times)) == 1:
        gold = detail.runs[times.index(max(times))][0]
        drafts.append(Draft("most_frequent", gold, tuple(label for label, _ in detail.runs if label != gold)))
    return drafts


def _order(labels: tuple[str, ...], pick: Chooser) -> list[Draft]:
    if len(labels) < 2:
        return []
    own = {gold: tuple(label for label in labels if label != gold) for gold in labels}
    absent = pick.shuffled(SOUND_EVENTS, labels)
    drafts = [
        Draft("first_sound", labels[0], own[labels[0]] + absent, open=True),
        Draft("last_sound", labels[-1], own[labels[-1]] + absent, open=True),
    ]
    at = int(pick.rng.integers(len(labels) - 1))
    wrong = tuple(label for label in labels if label not in labels[at : at + 2]) + absent
    drafts.append(Draft("next_sound", labels[at + 1], wrong, labels[at], True))
    return drafts


def _layers(detail: SoundFacts, present: tuple[str, ...], pick: Chooser) -> list[Draft]:
    assert detail.background is not None
    wrong = pick.wrong(tuple(TEXTURES), present, near_labels(detail.background))
    drafts = [Draft("background", detail.background, wrong, open=True)]
    if len(detail.runs) == 1:
        gold = detail.runs[0][0]
        wrong = pick.wrong(SOUND_EVENTS, present, near_labels(gold))
        drafts.append(Draft("foreground", gold, wrong, detail.background, True))
    return drafts
