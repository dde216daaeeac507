import re
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.drafts import Chooser
from lalm_agent.training.synth.instruments import INSTRUMENTS
from lalm_agent.training.synth.instruments import alike as alike_instruments
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.levels import LEVELS, SPECS, Level, weight
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.questions import COMMON, all_drafts, choose, make_drafts, make_questions
from lalm_agent.training.synth.questions_sound import near_labels
from lalm_agent.training.synth.records import (
    Clip,
    Facts,
    MusicFacts,
    SoundFacts,
    SpeechFacts,
    Split,
    SynthQuestion,
)
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.speech import topic_of
from lalm_agent.training.synth.unanswerable import make_unanswerable
from lalm_agent.training.synth.unanswerable_clips import unanswerable
from lalm_agent.training.synth.wording import draw, expand

KINDS = tuple(AudioType)
FAMILIES = {"gold_removed", "wrong_modality", "unheard"}


def silent_clip(detail: SoundFacts | MusicFacts | SpeechFacts, kind: AudioType, level: Level = Level.HARD) -> Clip:
    facts = Facts(kind, "caption", None, (), (), ("background",), detail)
    return Clip(np.zeros(16000, np.float32), facts, 0, Pool.TRAIN, Split.TRAIN, None, level)


@pytest.fixture(scope="module")
def asked(engines: None) -> list[tuple[Clip, list[SynthQuestion], list[SynthQuestion]]]:
    out = []
    for kind in KINDS:
        for seed in range(40):
            clip = make_clip(seed, Split.TEST, kind)
            rng = np.random.default_rng([len(out), 1])
            out.append((clip, make_questions(clip, rng), [make_unanswerable(clip, rng) for _ in range(8)]))
    return out


def test_an_answer_is_among_the_choices_exactly_once(asked: list) -> None:
    for _, questions, _ in asked:
        for question in questions:
            assert question.answerable
            assert question.answer
            assert question.family is None
            assert len(set(question.choices)) == len(question.choices)
            if question.choices:
                assert 2 <= len(question.choices) <= 4
                assert question.choices.count(question.answer) == 1


def test_an_unanswerable_question_has_no_answer_and_names_its_family(asked: list) -> None:
    families = Counter()
    for _, _, questions in asked:
        for question in questions:
            assert not question.answerable
            assert question.answer is None
            families[question.family] += 1
    assert set(families) == FAMILIES


def test_with_the_gold_removed_no_choice_is_what_the_clip_answers(asked: list) -> None:
    checked = 0
    for clip, _, removed in asked:
        golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
        for question in removed:
            if question.family == "gold_removed" and question.skill in (
                "language",
                "instrument",
                "animal",
            ):
                assert golds[question.skill] not in question.choices
                assert not set(question.choices) & set(clip.facts.tags)
                checked += 1
    assert checked > 20


def test_a_question_of_the_wrong_modality_is_never_about_what_is_there(asked: list) -> None:
    for clip, _, questions in asked:
        for question in questions:
            if question.family == "wrong_modality":
                assert SKILLS[question.skill].modality not in (clip.facts.modality, None)
                if "music behind speech" in clip.facts.tags:
                    assert SKILLS[question.skill].modality is not AudioType.MUSIC


def test_gold_positions_are_balanced(asked: list) -> None:
    places = Counter(
        (len(q.choices), q.choices.index(q.answer)) for _, questions, _ in asked for q in questions if q.choices
    )
    for size in (2, 3, 4):
        total = sum(count for (n, _), count in places.items() if n == size)
        for place in range(size):
            assert places[size, place] == pytest.approx(total / size, rel=0.25)


def test_every_modality_tests_eight_skills_and_some_questions_are_open(asked: list) -> None:
    skills = defaultdict(set)
    for clip, questions, _ in asked:
        skills[clip.facts.modality] |= {question.skill for question in questions}
    assert all(len(skills[kind]) >= 8 for kind in KINDS)
    assert any(not question.choices for _, questions, _ in asked for question in questions)


def test_every_level_occurs_and_no_mark_of_the_grammar_is_left(asked: list) -> None:
    levels = Counter()
    for clip, questions, unknown in asked:
        for question in (*questions, *unknown):
            levels[question.level] += 1
            assert question.level is clip.level
            assert not re.search(r"[<>{}|]|  |^\s|\s$", question.text), question.text
            assert question.text[-1] in "?."
    assert set(levels) == {"easy", "medium", "hard"}


@pytest.mark.parametrize(("pattern", "count"), [("a b", 1), ("{a|b} c {d|e|f}", 6), ("x {|y}?", 2)])
def test_a_drawn_wording_is_one_of_the_expansions(pattern: str, count: int) -> None:
    texts = expand(pattern)
    assert len(set(texts)) == count
    rng = np.random.default_rng(0)
    assert {draw(pattern, rng) for _ in range(100)} == set(texts)


def test_counting_asks_for_the_count() -> None:
    clip = silent_clip(SoundFacts((("dog barking", 3),)), AudioType.SOUND)
    drafts = {draft.skill: draft for draft in all_drafts(clip, np.random.default_rng(0))}
    assert (drafts["count"].gold, drafts["count"].blank) == ("three", "dog barking")
    assert set(drafts["count"].wrong) <= {"one", "two", "four", "five", "six"}
    assert drafts["animal"].gold == "dog"
    assert drafts["source"].gold == "an animal"


def test_order_asks_for_the_first_the_last_and_the_next() -> None:
    runs = (("rain", 0), ("dog barking", 1), ("gunshot", 2))
    clip = silent_clip(SoundFacts(runs), AudioType.SOUND)
    drafts = {draft.skill: draft for draft in all_drafts(clip, np.random.default_rng(0))}
    assert drafts["first_sound"].gold == "rain"
    assert drafts["last_sound"].gold == "gunshot"
    labels = [label for label, _ in runs]
    assert drafts["next_sound"].gold == labels[labels.index(drafts["next_sound"].blank) + 1]
    assert drafts["different_sounds"].gold == "three"


def test_music_asks_for_what_is_played() -> None:
    detail = MusicFacts(("violin", "piano"), "melody", "fast", 160.0, True, "rising", "minor", "three")
    clip = silent_clip(detail, AudioType.MUSIC)
    golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
    expected = {"type": "Music", "instrument": "violin", "accompaniment": "piano", "tempo": "fast", "tempo_bpm": "160"}
    expected |= {"direction": "rising", "mode": "minor", "metre": "three", "drums": "yes", "instrument_count": "two"}
    assert expected.items() <= golds.items()


def test_speech_asks_for_the_words() -> None:
    detail = SpeechFacts("words", ("female",), "English", "slow", ("rabbit", "tiger", "hotel"))
    clip = silent_clip(detail, AudioType.SPEECH)
    golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
    expected = {"first_word": "rabbit", "last_word": "hotel", "word_count": "three", "rate": "slow"}
    assert expected.items() <= golds.items()
    assert golds["gender"] in ("female", "a woman")
    assert "topic" not in golds


def test_words_of_one_group_have_a_topic() -> None:
    assert topic_of(("tiger", "eagle")) == "animals"
    assert topic_of(("tiger", "hotel")) is None
    assert topic_of(()) is None


def test_two_voices_are_not_asked_for_one_gender() -> None:
    detail = SpeechFacts("dialogue", ("male", "female"), "English", "normal", topic="food")
    clip = silent_clip(detail, AudioType.SPEECH)
    golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
    assert "gender" not in golds
    assert golds["first_speaker"] == "a man"
    assert golds["speakers"] == "two"


@pytest.mark.parametrize(
    ("pool", "near"),
    [(SOUND_EVENTS, near_labels), (tuple(INSTRUMENTS), alike_instruments)],
)
def test_easy_wrong_answers_are_far_and_hard_ones_near(
    pool: tuple[str, ...], near: Callable[[str], tuple[str, ...]]
) -> None:
    rng = np.random.default_rng(0)
    for gold in pool:
        close = [name for name in near(gold) if name in pool]
        assert close
        easy = Chooser(SPECS[Level.EASY], rng).wrong(pool, (gold,), near(gold))[:3]
        hard = Chooser(SPECS[Level.HARD], rng).wrong(pool, (gold,), near(gold))[:3]
        assert not set(easy) & set(close)
        assert len(set(hard) & set(close)) == min(3, len(close))


def test_a_skill_is_asked_only_at_its_levels_and_as_often_as_the_table_says() -> None:
    rng = np.random.default_rng(0)
    clips = {level: silent_clip(SoundFacts((("rain", 0), ("gunshot", 2))), AudioType.SOUND, level) for level in LEVELS}
    drafts = {level: make_drafts(clip, rng) for level, clip in clips.items()}
    assert "next_sound" not in {draft.skill for draft in drafts[Level.EASY]}
    assert "next_sound" in {draft.skill for draft in drafts[Level.HARD]}
    chosen = Counter(choose(drafts[Level.HARD], clips[Level.HARD], rng).skill for _ in range(4000))
    expected = weight("first_sound", Level.HARD) / weight("count", Level.HARD)
    assert chosen["first_sound"] / chosen["count"] == pytest.approx(expected, rel=0.2)


def test_tempi_to_choose_from_are_apart_and_never_twice_one_another() -> None:
    detail = MusicFacts(("violin",), "melody", "medium", 100.0, False, "rising")
    for level in (Level.MEDIUM, Level.HARD):
        for seed in range(40):
            drafts = all_drafts(silent_clip(detail, AudioType.MUSIC, level), np.random.default_rng(seed))
            asked = next(draft for draft in drafts if draft.skill == "tempo_bpm")
            values = sorted(map(int, (asked.gold, *asked.wrong)))
            assert len(values) == 4
            assert min(b - a for a, b in pairwise(values)) >= SPECS[level].bpm_gap
            assert not any(2 * a == b for a in values for b in values)


@pytest.mark.parametrize("family", ["swapped", "class_never_met", "low_snr"])
def test_what_is_put_to_another_sound_is_not_true_of_it(engines: None, family: str) -> None:
    for kind in KINDS:
        for seed in range(6):
            samples, clip, question = unanswerable(seed, Split.DEV, kind, family)
            assert not set(question.choices) & set(clip.facts.tags) or family == "low_snr"
            assert (question.family, question.answer, question.answerable) == (family, None, False)
            assert np.abs(samples).max() > 0.01


def test_an_answer_that_most_clips_share_is_asked_for_less_often() -> None:
    clip = silent_clip(SpeechFacts("salad", ("male",), "English", "normal"), AudioType.SPEECH)
    rng = np.random.default_rng(0)
    asked = Counter(draft.skill for _ in range(300) for draft in make_drafts(clip, rng))
    assert asked["gender"] == 300
    assert asked["language"] == pytest.approx(300 * COMMON["language", "English"], rel=0.4)
