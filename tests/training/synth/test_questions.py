import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.drafts import Draft, level_of
from lalm_agent.training.synth.questions import COMMON, all_drafts, make_drafts, make_questions, make_unanswerable
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
from lalm_agent.training.synth.unheard import unheard_patterns
from lalm_agent.training.synth.wording import draw, expand

KINDS = tuple(AudioType)
FAMILIES = {"gold_removed", "wrong_modality", "unheard"}


def silent_clip(detail: SoundFacts | MusicFacts | SpeechFacts, kind: AudioType, snr_db: float | None = None) -> Clip:
    facts = Facts(kind, "caption", None, (), (), ("background",), detail)
    return Clip(np.zeros(16000, np.float32), facts, 0, True, Split.TRAIN, snr_db)


@pytest.fixture(scope="module")
def asked(engines: None) -> list[tuple[Clip, list[SynthQuestion], list[SynthQuestion]]]:
    out = []
    for kind in KINDS:
        for seed in range(40):
            clip = make_clip(seed, Split.TEST, kind)
            rng = np.random.default_rng([len(out), 1])
            out.append((clip, make_questions(clip, rng), make_unanswerable(clip, rng)))
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


def test_every_modality_tests_seven_skills_and_some_questions_are_open(asked: list) -> None:
    skills = defaultdict(set)
    for clip, questions, _ in asked:
        skills[clip.facts.modality] |= {question.skill for question in questions}
    assert all(len(skills[kind]) >= 7 for kind in KINDS)
    assert any(not question.choices for _, questions, _ in asked for question in questions)


def test_every_level_occurs_and_no_mark_of_the_grammar_is_left(asked: list) -> None:
    levels = Counter()
    for _, questions, unknown in asked:
        for question in (*questions, *unknown):
            levels[question.level] += 1
            assert not re.search(r"[<>{}|]|  |^\s|\s$", question.text), question.text
            assert question.text[-1] in "?."
    assert set(levels) == {"easy", "medium", "hard"}


def test_wordings_of_seen_and_unseen_clips_are_disjoint() -> None:
    train = {text for skill in SKILLS.values() for pattern in skill.train for text in expand(pattern)}
    held = {text for skill in SKILLS.values() for pattern in skill.held for text in expand(pattern)}
    assert not train & held
    assert len(train) > 500
    assert not set(unheard_patterns(True)) & set(unheard_patterns(False))


def test_a_held_out_wording_uses_no_word_that_train_has_not_read() -> None:
    """Otherwise a model that was taught not to know what it has not read is asked about words, not about audio."""

    def words(patterns: list[str]) -> set[str]:
        return {
            word for pattern in patterns for text in expand(pattern) for word in re.findall(r"[a-z']+", text.lower())
        }

    train = words([pattern for skill in SKILLS.values() for pattern in skill.train])
    assert words([pattern for skill in SKILLS.values() for pattern in skill.held]) <= train


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
    assert set(drafts["count"].wrong) <= {"one", "two", "four", "five"}
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
    detail = SpeechFacts("words", ("female",), "English", "slow", ("apple", "tiger", "window"))
    clip = silent_clip(detail, AudioType.SPEECH)
    golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
    expected = {"gender": "female", "first_word": "apple", "last_word": "window", "word_count": "three", "rate": "slow"}
    assert expected.items() <= golds.items()
    assert "topic" not in golds


def test_two_voices_are_not_asked_for_one_gender() -> None:
    detail = SpeechFacts("dialogue", ("male", "female"), "English", "normal", topic="food")
    clip = silent_clip(detail, AudioType.SPEECH)
    golds = {draft.skill: draft.gold for draft in all_drafts(clip, np.random.default_rng(0))}
    assert "gender" not in golds
    assert golds["first_speaker"] == "a man"
    assert golds["speakers"] == "two"


@pytest.mark.parametrize(
    ("snr_db", "events", "close", "level"),
    [
        (None, 1, False, "easy"),
        (30.0, 1, False, "easy"),
        (15.0, 1, False, "medium"),
        (None, 2, True, "medium"),
        (5.0, 1, True, "hard"),
        (None, 4, True, "hard"),
    ],
)
def test_levels_follow_their_rule(snr_db: float | None, events: int, close: bool, level: str) -> None:
    clip = replace(silent_clip(SoundFacts((("rain", 0),)), AudioType.SOUND), snr_db=snr_db)
    assert level_of(clip, Draft("count", "one", ("two",), events=events, close=close)) == level


def test_an_answer_that_most_clips_share_is_asked_for_less_often() -> None:
    clip = silent_clip(SpeechFacts("salad", ("male",), "English", "normal"), AudioType.SPEECH)
    rng = np.random.default_rng(0)
    asked = Counter(draft.skill for _ in range(300) for draft in make_drafts(clip, rng))
    assert asked["gender"] == 300
    assert asked["language"] == pytest.approx(300 * COMMON["language", "English"], rel=0.4)
