"""What can be asked about a clip of sounds."""

import numpy as np

from lalm_agent.training.synth.drafts import Draft, others
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.records import Clip, SoundFacts
from lalm_agent.training.synth.sound_textures import TEXTURES

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
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
    "frog croaking": "frog",
    "crow cawing": "crow",
    "duck quacking": "duck",
    "owl hooting": "owl",
    "horse neighing": "horse",
    "crickets": "cricket",
    "bees buzzing": "bee",
}
_GROUPS = {
    "a person": ("hand clap", "coughing", "sneezing", "baby crying", "footsteps", "applause"),
    "nature": ("rain", "wind", "thunder", "sea waves", "fire crackling", "flowing stream", "water dripping"),
    "a machine": ("engine", "helicopter", "chainsaw", "drill", "printer", "vacuum cleaner", "passing train"),
    "a signal": ("siren", "telephone ringing", "bell ringing", "electronic beep", "car horn", "whistle"),
    "an object": (
        "door knocking",
        "glass breaking",
        "door slamming",
        "keys jangling",
        "hammering",
        "clock ticking",
        "camera shutter",
        "keyboard typing",
    ),
}
SOURCES = {label: "an animal" for label in ANIMALS} | {
    label: group for group, labels in _GROUPS.items() for label in labels
}
SOURCE_NAMES = ("an animal", *_GROUPS)
_PLACES = {
    "a farm": ("cow mooing", "sheep bleating", "rooster crowing", "horse neighing"),
    "a beach": ("sea waves",),
    "a forest": ("owl hooting", "chainsaw", "flowing stream", "bird chirping"),
    "a pond": ("frog croaking", "duck quacking"),
    "a kitchen": ("food frying", "water dripping"),
    "an office": ("printer", "keyboard typing"),
    "a theatre": ("applause",),
    "a street": ("siren", "car horn"),
    "a railway": ("passing train",),
    "a building site": ("hammering", "drill"),
    "a campfire": ("fire crackling",),
}
PLACES = {label: place for place, labels in _PLACES.items() for label in labels}
PLACE_NAMES = tuple(_PLACES)


def near_labels(label: str) -> tuple[str, ...]:
    """Sounds of the same kind of source, easily mistaken for one another."""
    group = SOURCES.get(label)
    return tuple(name for name in SOUND_EVENTS if name != label and SOURCES.get(name) == group and group)


def number_choices(times: int, rng: np.random.Generator, lowest: int = 1) -> tuple[str, ...]:
    """Wrong numbers, the nearest first."""
    wrong = [k for k in range(lowest, 7) if k != times]
    wrong.sort(key=lambda k: (abs(k - times), rng.random()))
    return tuple(NUMBERS[k] for k in wrong[:3])


def sound_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Every question that the facts of a sound clip allow."""
    detail = clip.facts.detail
    assert isinstance(detail, SoundFacts)
    labels = tuple(label for label, _ in detail.runs)
    present = (*labels, detail.background) if detail.background else labels
    drafts = [_heard(present, rng), _presence(present, rng)]
    if len(present) == 1:
        drafts += _about_one(labels[0], rng)
    drafts += _counts(detail, rng)
    drafts += _order(labels, rng) if detail.background is None else _layers(detail, present, rng)
    if detail.trend:
        drafts.append(Draft("trend", detail.trend, others(TRENDS, (detail.trend,), rng), open=True))
    if detail.distance:
        drafts.append(Draft("distance", detail.distance, others(DISTANCES, (detail.distance,), rng), open=True))
    wrong = number_choices(len(present), rng)
    drafts.append(Draft("different_sounds", NUMBERS[len(present)], wrong, events=len(present) + 1, open=True))
    return drafts


def _heard(present: tuple[str, ...], rng: np.random.Generator) -> Draft:
    gold = present[int(rng.integers(len(present)))]
    near = near_labels(gold) if rng.random() < 0.5 else ()
    return Draft(
        "sound_class",
        gold,
        others(SOUND_EVENTS, present, rng, near),
        events=len(present),
        close=bool(near),
        open=len(present) == 1,
    )


def _presence(present: tuple[str, ...], rng: np.random.Generator) -> Draft:
    truth = bool(rng.random() < 0.5)
    asked = present[int(rng.integers(len(present)))]
    near = near_labels(asked)
    asked = asked if truth else others(SOUND_EVENTS, present, rng, near)[0]
    gold, wrong = YES_NO if truth else YES_NO[::-1]
    return Draft("sound_present", gold, (wrong,), asked, len(present), close=not truth and bool(near), open=True)


def _about_one(label: str, rng: np.random.Generator) -> list[Draft]:
    drafts = []
    if label in ANIMALS:
        animal = ANIMALS[label]
        drafts.append(Draft("animal", animal, others(tuple(ANIMALS.values()), (animal,), rng), open=True))
    if label in SOURCES:
        drafts.append(Draft("source", SOURCES[label], others(SOURCE_NAMES, (SOURCES[label],), rng), open=True))
    if label in PLACES:
        drafts.append(Draft("scene", PLACES[label], others(PLACE_NAMES, (PLACES[label],), rng), close=True))
    return drafts


def _counts(detail: SoundFacts, rng: np.random.Generator) -> list[Draft]:
    drafts = [
        Draft("count", NUMBERS[times], number_choices(times, rng), label, max(times, len(detail.runs)), True, True)
        for label, times in detail.runs
        if times
    ]
    times = [times for _, times in detail.runs]
    if len(times) > 1 and all(times) and times.count(max(times)) == 1:
        gold = detail.runs[times.index(max(times))][0]
        wrong = tuple(label for label, _ in detail.runs if label != gold)
        drafts.append(Draft("most_frequent", gold, wrong, events=sum(times)))
    return drafts


def _order(labels: tuple[str, ...], rng: np.random.Generator) -> list[Draft]:
    if len(labels) < 2:
        return []
    own = {gold: tuple(label for label in labels if label != gold) for gold in labels}
    absent = others(SOUND_EVENTS, labels, rng)
    drafts = [
        Draft("first_sound", labels[0], own[labels[0]] + absent, events=len(labels), close=True, open=True),
        Draft("last_sound", labels[-1], own[labels[-1]] + absent, events=len(labels), close=True, open=True),
    ]
    at = int(rng.integers(len(labels) - 1))
    wrong = tuple(label for label in labels if label not in labels[at : at + 2]) + absent
    drafts.append(Draft("next_sound", labels[at + 1], wrong, labels[at], len(labels) + 1, len(labels) > 2, True))
    return drafts


def _layers(detail: SoundFacts, present: tuple[str, ...], rng: np.random.Generator) -> list[Draft]:
    assert detail.background is not None
    near = near_labels(detail.background)
    drafts = [
        Draft(
            "background", detail.background, others(tuple(TEXTURES), present, rng, near), events=len(present), open=True
        )
    ]
    if len(detail.runs) == 1:
        gold = detail.runs[0][0]
        wrong = others(SOUND_EVENTS, present, rng, near_labels(gold))
        drafts.append(Draft("foreground", gold, wrong, detail.background, 2, True, True))
    return drafts
