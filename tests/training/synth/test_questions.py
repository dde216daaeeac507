"""Questions: what the facts allow, worded whole, balanced, and unanswerable only where they should be."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.levels import LEVELS, SPECS
from lalm_agent.training.synth.music import INSTRUMENTS
from lalm_agent.training.synth.questions import (
    SKILLS,
    DistractorSampler,
    all_drafts,
    choose,
    make_drafts,
    similar_instruments,
    similar_sounds,
    word,
    worded,
)
from lalm_agent.training.synth.records import Clip, Facts, Level, MusicFacts, Pool, SoundFacts, SpeechFacts, Split
from lalm_agent.training.synth.unanswerable import make_unanswerable, pose_unanswerable

KINDS = tuple(AudioType)


def clip_of(detail, level: Level = Level.HARD) -> Clip:
    kind = {SoundFacts: AudioType.SOUND, MusicFacts: AudioType.MUSIC, SpeechFacts: AudioType.SPEECH}[type(detail)]
    facts = Facts(kind, "caption", None, (), (), ("background",), detail)
    return Clip(np.zeros(16000, np.float32), facts, 0, Pool.TRAIN, Split.TRAIN, None, level)


def drafts_of(detail, level: Level = Level.HARD, seed: int = 0):
    return {draft.skill: draft for draft in all_drafts(clip_of(detail, level), np.random.default_rng(seed))}


@pytest.fixture(scope="module")
def posed(needs_synth: None) -> list[tuple]:
    """(clip, answerable questions, unanswerable ones)."""
    out = []
    for kind in KINDS:
        for seed in range(20):
            clip = make_clip(seed, Split.TEST, kind)
            rng = np.random.default_rng([len(out), 1])
            drafts = make_drafts(clip, rng)
            questions = [word(draft, clip, rng) for draft in drafts]
            questions += [worded(draft, clip, (), rng) for draft in drafts if draft.open]
            out.append((clip, questions, [make_unanswerable(clip, rng) for _ in range(8)]))
    return out


def test_questions_are_well_formed(posed: list) -> None:
    skills, levels, families = defaultdict(set), Counter(), Counter()
    for clip, questions, unanswerable in posed:
        for question in (*questions, *unanswerable):
            levels[question.level] += 1
            assert question.level is clip.level
            assert not re.search(r"[<>{}|]|  |^\s|\s$", question.text), question.text
            assert question.text[-1] in "?."
            assert len(set(question.choices)) == len(question.choices) <= 4
            assert question.answerable == (question.answer is not None) == (question.family is None)
        for question in questions:
            assert len(question.choices) != 1
            assert question.choices.count(question.answer) == min(1, len(question.choices))
        families.update(question.family for question in unanswerable)
        skills[clip.facts.modality] |= {question.skill for question in questions}
    assert set(levels) == set(LEVELS)
    assert set(families) == {"gold_removed", "wrong_modality", "unheard"}
    assert all(len(skills[kind]) >= 8 for kind in KINDS)
    assert any(not question.choices for _, questions, _ in posed for question in questions)


def test_what_has_no_answer_offers_nothing_true(posed: list) -> None:
    checked = 0
    for clip, _, unanswerable in posed:
        golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
        for question in unanswerable:
            if question.family == "gold_removed" and question.skill in ("language", "instrument", "animal"):
                assert golds[question.skill] not in question.choices
                assert not set(question.choices) & set(clip.facts.tags)
                checked += 1
            if question.family == "wrong_modality":
                music = AudioType.MUSIC if "music behind speech" in clip.facts.tags else None
                assert SKILLS[question.skill].modality not in (clip.facts.modality, music, None)
    assert checked > 10


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.parametrize("family", ["swapped", "class_never_met", "low_snr"])
def test_what_is_put_to_another_sound_is_not_true_of_it(family: str) -> None:
    for kind in KINDS:
        for seed in range(3):
            samples, clip, question = pose_unanswerable(seed, Split.DEV, kind, family)
            assert not set(question.choices) & set(clip.facts.tags) or family == "low_snr"
            assert (question.family, question.answer, question.answerable) == (family, None, False)
            assert np.abs(samples).max() > 0.01


DOG = SoundFacts((("dog barking", 3),))
ORDER = SoundFacts((("rain", 0), ("dog barking", 1), ("gunshot", 2)))
DUET = MusicFacts(("violin", "piano"), "melody", "fast", 160.0, True, "rising", "minor", "three")
WORDS = SpeechFacts("words", ("female",), "English", "slow", ("rabbit", "tiger", "hotel"))
DIALOGUE = SpeechFacts("dialogue", ("male", "female"), "English", "normal", topic="food")


@pytest.mark.parametrize(
    ("detail", "golds", "absent"),
    [
        (DOG, {"count": "three", "animal": "dog", "source": "an animal"}, "next_sound"),
        (ORDER, {"first_sound": "rain", "last_sound": "gunshot", "different_sounds": "three"}, "animal"),
        (
            DUET,
            {"type": "Music", "instrument": "violin", "accompaniment": "piano", "tempo": "fast", "tempo_bpm": "160"}
            | {"direction": "rising", "mode": "minor", "metre": "three", "drums": "yes", "instrument_count": "two"},
            "texture",
        ),
        (WORDS, {"first_word": "rabbit", "last_word": "hotel", "word_count": "three", "rate": "slow"}, "topic"),
        (DIALOGUE, {"first_speaker": "a man", "speakers": "two", "topic": "food"}, "gender"),
    ],
)
def test_the_facts_are_questions_for(detail, golds: dict[str, str], absent: str) -> None:
    drafts = drafts_of(detail)
    assert golds.items() <= {skill: draft.gold for skill, draft in drafts.items()}.items()
    assert absent not in drafts
    assert all(draft.gold not in draft.wrong for draft in drafts.values())


def test_the_next_is_the_one_behind_the_blank_and_numbers_are_near() -> None:
    labels, draft = [label for label, _ in ORDER.runs], drafts_of(ORDER)["next_sound"]
    assert draft.gold == labels[labels.index(draft.blank) + 1]
    assert set(drafts_of(DOG)["count"].wrong) <= {"one", "two", "four", "five", "six"}


@pytest.mark.parametrize(("pool", "near"), [(SOUND_EVENTS, similar_sounds), (tuple(INSTRUMENTS), similar_instruments)])
def test_easy_wrong_answers_are_far_and_hard_ones_near(pool: tuple[str, ...], near) -> None:
    rng = np.random.default_rng(0)
    for gold in pool:
        close = [name for name in near(gold) if name in pool]
        assert close
        easy = DistractorSampler(SPECS[Level.EASY], rng).wrong(pool, (gold,), near(gold))[:3]
        hard = DistractorSampler(SPECS[Level.HARD], rng).wrong(pool, (gold,), near(gold))[:3]
        assert not set(easy) & set(close)
        assert len(set(hard) & set(close)) == min(3, len(close))


def test_a_skill_is_questions_only_at_its_levels_and_as_often_as_the_table_says() -> None:
    rng = np.random.default_rng(0)
    clips = {level: clip_of(SoundFacts((("rain", 0), ("gunshot", 2))), level) for level in LEVELS}
    drafts = {level: make_drafts(clip, rng) for level, clip in clips.items()}
    assert "next_sound" not in {draft.skill for draft in drafts[Level.EASY]}
    assert "next_sound" in {draft.skill for draft in drafts[Level.HARD]}
    chosen = Counter(choose(drafts[Level.HARD], clips[Level.HARD], rng).skill for _ in range(4000))
    first, count = (SKILLS[skill].weights[Level.HARD] for skill in ("first_sound", "count"))
    assert chosen["first_sound"] / chosen["count"] == pytest.approx(first / count, rel=0.2)
    assert choose([], clips[Level.HARD], rng) is None


def test_an_answer_that_most_clips_share_is_questions_for_less_often() -> None:
    clip, rng = clip_of(SpeechFacts("salad", ("male",), "English", "normal")), np.random.default_rng(0)
    skills = Counter(draft.skill for _ in range(300) for draft in make_drafts(clip, rng))
    assert skills["gender"] == 300
    assert skills["language"] == pytest.approx(300 * SKILLS["language"].answer_rates["English"], rel=0.4)


@pytest.mark.parametrize("level", [Level.MEDIUM, Level.HARD])
def test_tempi_to_choose_from_are_apart_and_never_twice_one_another(level: Level) -> None:
    detail = MusicFacts(("violin",), "melody", "medium", 100.0, False, "rising")
    for seed in range(40):
        draft = drafts_of(detail, level, seed)["tempo_bpm"]
        values = sorted(map(int, (draft.gold, *draft.wrong)))
        assert len(values) == 4
        assert min(b - a for a, b in pairwise(values)) >= SPECS[level].bpm_gap
        assert not any(2 * a == b for a in values for b in values)
